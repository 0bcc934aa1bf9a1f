"""What a team needs beside the study: accounts, an audit log, jobs, second persons."""
