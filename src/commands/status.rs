//! `iot-bridge status`: how the running bridge is.

mod view;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::{fail, print};
use crate::health::{Report, status_socket};
use view::View;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(1);

/// Moves to the upper left corner and clears the terminal from there (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

pub fn execute(json: bool, watch: bool) -> ExitCode {
    let path = status_socket::path();
    if watch {
        return follow(&path, json);
    }
    match look(&path, json) {
        Ok(text) => print(text.as_bytes()),
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// Shows the status again and again, until the reader has gone or Ctrl-C ends the process. A bridge that stops or
/// starts again in between is shown as that.
fn follow(path: &Path, json: bool) -> ExitCode {
    let mut stdout = io::stdout();
    let redraw = stdout.is_terminal() && !json;
    loop {
        let text = match look(path, json) {
            Ok(text) => text,
            Err(error) if redraw => format!("iot-bridge: {error:#}\n"),
            Err(error) => return fail(&format!("{error:#}")),
        };
        let shown = write!(stdout, "{}{text}", if redraw { CLEAR } else { "" }).and_then(|()| stdout.flush());
        match shown {
            Ok(()) => std::thread::sleep(LOOK),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Err(error) => return fail(&error),
        }
    }
}

/// What is to be printed, its last line feed included.
fn look(path: &Path, json: bool) -> anyhow::Result<String> {
    let text = status_socket::ask(path).map_err(|error| explain(path, &error))?;
    if json {
        return Ok(text);
    }
    let report: Report = serde_json::from_str(&text).with_context(|| {
        format!("what {} tells is not understood; is the running bridge of another version?", path.display())
    })?;
    Ok(View(&report).to_string())
}

fn explain(path: &Path, error: &io::Error) -> anyhow::Error {
    let socket = path.display();
    match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "no bridge runs here: there is no {socket}. `systemctl start iot-bridge` starts it; of one that was started \
             by hand, the directory of the socket is what RUNTIME_DIRECTORY says"
        ),
        ErrorKind::ConnectionRefused => {
            anyhow!("no bridge runs any more: {socket} is left over from one that was killed")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("only root and the group iot-bridge may ask {socket}: `usermod -aG iot-bridge USER` adds a user")
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => anyhow!("the bridge behind {socket} does not answer"),
        _ => anyhow!("{socket} cannot be asked: {error}"),
    }
}
