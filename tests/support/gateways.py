"""Real gateways on loopback for tests: Mosquitto, an SMPP server in Node.js."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from system_packages import lacking

SMPP_SERVER = """
const smpp = require('smpp');
const fs = require('fs');
const [port, log] = [Number(process.argv[2]), process.argv[3]];
let n = 0;
const server = smpp.createServer({}, (session) => {
  session.on('bind_transceiver', (pdu) => {
    if (pdu.password !== 'secret') {
      session.send(pdu.response({command_status: smpp.ESME_RBINDFAIL}));
      session.close();
      return;
    }
    session.send(pdu.response());
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => { session.send(pdu.response()); session.close(); });
  session.on('submit_sm', (pdu) => {
    const to = pdu.destination_addr;
    const body = pdu.short_message.message || (pdu.message_payload || {}).message || '';
    const text = Buffer.isBuffer(body) ? body.toString('latin1') : body;
    fs.appendFileSync(log, JSON.stringify({to, text, from: pdu.source_addr}) + '\\n');
    if (to.endsWith('404')) return session.send(pdu.response({command_status: 0x0B}));
    if (to.endsWith('429')) return session.send(pdu.response({command_status: 0x58}));
    if (to.endsWith('000')) return;  // it hangs
    if (to.endsWith('666')) return session.socket.destroy();
    n += 1;
    session.send(pdu.response({message_id: 'm' + n}));
  });
  session.on('error', () => {});
});
server.listen(port, '127.0.0.1', () => console.log('ready'));
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


@contextmanager
def running(arguments: list[str], port: int, **options: object) -> Iterator[None]:
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        wait_for(port)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def mosquitto(folder: Path, password: str | None = None) -> Iterator[int]:
    """A broker; with a password, for the user `study` alone."""
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        lacking("mosquitto")
    port, lines = free_port(), ["persistence false"]
    lines.append(f"listener {port} 127.0.0.1")
    if password is None:
        lines.append("allow_anonymous true")
    else:
        known = folder / "passwords"
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", str(known), "study", password],
            check=True,
            capture_output=True,
        )
        known.chmod(0o644)
        folder.chmod(0o755)
        lines += ["allow_anonymous false", f"password_file {known}", "user root"]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    with running([program, "-c", str(folder / "mosquitto.conf")], port):
        yield port


def smpp_package() -> Path:
    """Folder with the npm package `smpp`, beside the tests' cache or where a variable says."""
    import os

    base = Path(os.environ.get("WAVEWISE_NODE", Path(__file__).resolve().parents[2] / ".node"))
    if shutil.which("node") is None:
        lacking("nodejs", "npm", "npm:smpp")
    if not (base / "node_modules" / "smpp").is_dir():
        lacking("npm", "npm:smpp")
    return base


@contextmanager
def smpp_server(folder: Path) -> Iterator[tuple[int, Path]]:
    """A gateway and the file of what it received, one JSON object a message."""
    import os

    base = smpp_package()
    script, log, port = folder / "server.js", folder / "received.ndjson", free_port()
    script.write_text(SMPP_SERVER)
    log.touch()
    modules = {**os.environ, "NODE_PATH": str(base / "node_modules")}
    with running(["node", str(script), str(port), str(log)], port, env=modules):
        yield port, log
