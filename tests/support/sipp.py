"""SIPp as the other side of calls: telephones that are busy, ring, answer and press, or flash."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from system_packages import lacking

TONES = Path("/usr/share/sip-tester")  # keys as RFC 2833 events, of Debian's package
_HEAD = """[last_Via:]
[last_From:]
[last_To:];tag=called[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:called@[local_ip]:[local_port]>"""
_SOUND = """v=0
o=called 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15"""


def need_sipp() -> None:
    if shutil.which("sipp") is None:
        lacking("sip-tester")


def _send(text: str, options: str = "") -> str:
    return f"<send{options}><![CDATA[\n\n{text}\n\n]]></send>\n"


def _answer(status: str, body: str = "") -> str:
    form = "Content-Type: application/sdp\n" if body else ""
    return _send(f"SIP/2.0 {status}\n{_HEAD}\n{form}Content-Length: [len]\n\n{body}")


def _scenario(steps: str) -> str:
    head = '<?xml version="1.0" encoding="ISO-8859-1" ?>'
    return f'{head}\n<scenario name="s">\n{steps}</scenario>\n'


_INVITED = '<recv request="INVITE"/>\n'
_ACKED = '<recv request="ACK"/>\n'
_END = '<recv request="BYE"/>\n' + _send(
    "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
    "Content-Length: 0"
)


def _pressed(key: str, *, by_info: bool) -> str:
    if not by_info:
        name = {"*": "star", "#": "pound"}.get(key, key)
        play = f'<exec play_pcap_audio="{TONES}/dtmf_2833_{name}.pcap"/>'
        return f"<nop><action>{play}</action></nop>\n"
    info = f"""INFO sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:called@[local_ip]:[local_port]>;tag=called[call_number]
To: [$peer]
[last_Call-ID:]
CSeq: 7 INFO
Max-Forwards: 70
Content-Type: application/dtmf-relay
Content-Length: [len]

Signal={key}
Duration=160"""
    return _send(info) + '<recv response="200"/>\n'


def called(does: str) -> str:
    """Scenario of a telephone: "busy", "unavailable", "rings", "answers" or "presses 1"."""
    if does == "busy":
        return _scenario(_INVITED + _answer("486 Busy Here") + _ACKED)
    if does == "unavailable":
        ringing = _INVITED + _answer("180 Ringing") + '<pause milliseconds="200"/>\n'
        return _scenario(ringing + _answer("480 Temporarily Unavailable") + _ACKED)
    if does == "rings":
        cancelled = '<recv request="CANCEL"/>\n' + _send(
            "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n"
            "[last_CSeq:]\nContent-Length: 0"
        )
        gone = "SIP/2.0 487 Request Terminated\n" + _HEAD.replace(
            "[last_CSeq:]", "CSeq: [$turn] INVITE"
        )
        keep = (
            '<recv request="INVITE"><action><ereg regexp="[0-9]+" search_in="hdr" header="CSeq:"'
            ' assign_to="turn"/></action></recv>\n'
        )
        return _scenario(
            keep + _answer("180 Ringing") + cancelled + _send(f"{gone}\nContent-Length: 0") + _ACKED
        )
    by_info, key = "(INFO)" in does, does.partition("presses ")[2][:1]
    keep = (
        '<recv request="INVITE"><action><ereg regexp="&lt;.*" search_in="hdr" header="From:"'
        ' assign_to="peer"/></action></recv>\n'
        if by_info
        else _INVITED
    )
    steps = keep + _answer("180 Ringing") + _answer("200 OK", _SOUND) + _ACKED
    if key:
        steps += '<pause milliseconds="500"/>\n' + _pressed(key, by_info=by_info)
    return _scenario(steps + _END)


def flashing(*, hangs_up: bool) -> str:
    """Scenario of somebody who rings, and is refused or hangs up first."""
    head = """sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "A parent" <sip:{caller}@[local_ip]:[local_port]>;tag=caller[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
Max-Forwards: 70
Contact: <sip:{caller}@[local_ip]:[local_port]>
"""
    invite = f"INVITE {head}CSeq: 1 INVITE\nContent-Type: application/sdp\nContent-Length: [len]\n"
    acked = _send(f"ACK {head}CSeq: 1 ACK\nContent-Length: 0")
    steps = _send(f"{invite}\n{_SOUND}") + '<recv response="100" optional="true"/>\n'
    if hangs_up:
        cancel = _send(f"CANCEL {head}CSeq: 1 CANCEL\nContent-Length: 0")
        steps += '<recv response="180"/>\n' + cancel
        steps += '<recv response="200" optional="true"/>\n<recv response="481" optional="true"/>\n'
        steps += '<recv response="486" optional="true" next="1"/>\n<recv response="487"/>\n'
        return _scenario(steps + '<label id="1"/>\n' + acked)
    steps += '<recv response="180" optional="true"/>\n<recv response="486"/>\n'
    return _scenario(steps + acked)


def flash(folder: Path, number: str, caller: str, port: int, *, hangs_up: bool) -> None:
    """Ring a number as a caller from a port, once."""
    user, _, target = number.removeprefix("sip:").partition("@")
    script = folder / f"flash-{port}.xml"
    script.write_text(flashing(hangs_up=hangs_up).replace("{caller}", caller))
    run = subprocess.run(
        [*_sipp(script, port), "-s", user, target],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        stdin=subprocess.DEVNULL,
        cwd=folder,
    )
    assert run.returncode == 0, run.stdout[-2_000:] + run.stderr[-500:]


@contextmanager
def telephones(folder: Path, does: dict[int, str]) -> Iterator[None]:
    """Telephones at ports, each for one call; at the end each must have had the call it was for."""
    running: dict[int, subprocess.Popen[bytes]] = {}
    for port, what in does.items():
        script = folder / f"called-{port}.xml"
        script.write_text(called(what))
        running[port] = subprocess.Popen(
            [*_sipp(script, port), "-mp", str(port + 12_000)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
    try:
        yield
        codes = {port: process.wait(90) for port, process in running.items()}
        assert set(codes.values()) <= {0}, {does[port]: code for port, code in codes.items()}
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def _sipp(script: Path, port: int) -> list[str]:
    own = ["-sf", str(script), "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(port)]
    return ["sipp", *own, "-m", "1", "-timeout", "60", "-timeout_error", "-nostdin"]
