//! `iot-bridge status`: how the running bridge is.

mod requests;
mod view;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{fail, print};
use crate::health::Report;
use crate::health::status_socket::{self, PATIENCE, Unasked};
use iot_bridge_core::accounts::{self, STATUS_GROUP};
use iot_bridge_core::terminal::printable;
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

/// Shows the status again and again, until the reader has gone or Ctrl-C ends the process. A bridge that can't be asked
/// in between is told: in the place of the status on a terminal, else on standard error, once as long as it lasts.
fn follow(path: &Path, json: bool) -> ExitCode {
    let mut stdout = io::stdout();
    let redraw = stdout.is_terminal() && !json;
    let mut told = None;
    loop {
        let shown = match look(path, json) {
            Ok(text) => {
                told = None;
                write!(stdout, "{}{text}", if redraw { CLEAR } else { "" })
            }
            Err(error) if redraw => writeln!(stdout, "{CLEAR}iot-bridge: {error:#}"),
            Err(error) => {
                let sentence = format!("{error:#}");
                if told.as_ref() != Some(&sentence) {
                    eprintln!("iot-bridge: {sentence}");
                }
                told = Some(sentence);
                Ok(())
            }
        };
        match shown.and_then(|()| stdout.flush()) {
            Ok(()) if reader_leaves_within(LOOK) => return ExitCode::SUCCESS,
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Err(error) => return fail(&error),
        }
    }
}

/// Waits for as long as `time`; less if who reads standard output has gone, which is what it returns.
fn reader_leaves_within(time: Duration) -> bool {
    let stdout = io::stdout();
    // No event is asked for: errors are always told.
    let mut look = [PollFd::new(&stdout, PollFlags::empty())];
    let time = Timespec::try_from(time).ok();
    match poll(&mut look, time.as_ref()) {
        Ok(gone) => gone > 0,
        Err(_) => {
            std::thread::sleep(LOOK);
            false
        }
    }
}

/// What is to be printed, its last line feed included.
fn look(path: &Path, json: bool) -> anyhow::Result<String> {
    let answer = status_socket::ask(path).map_err(|error| explain(path, &error))?;
    show(&answer, json).with_context(|| {
        format!("what {} tells is not understood; is the running bridge of another version?", path.display())
    })
}

/// What is printed of a bridge's answer: with `json` the same JSON, else text for people. Whatever the answer holds, it
/// has no control characters but line feeds, and nothing else that a terminal obeys.
///
/// # Errors
/// When it is not JSON, or, for text, not a [`Report`].
pub fn show(answer: &str, json: bool) -> serde_json::Result<String> {
    if json {
        let IgnoredAny = serde_json::from_str(answer)?;
        return Ok(printable::json(answer) + "\n");
    }
    let mut answer: Value = serde_json::from_str(answer)?;
    printable::clean(&mut answer);
    let report: Report = serde_json::from_value(answer)?;
    Ok(View(&report).to_string())
}

fn explain(path: &Path, error: &Unasked) -> anyhow::Error {
    let socket = path.display();
    let error = match error {
        Unasked::Unreachable(error) => error,
        Unasked::Silent { pid } => {
            let patience = PATIENCE.as_secs();
            let (whose, stack) = match pid {
                Some(pid) => (format!("with pid {pid}"), format!("; `ps -o stat= {pid}` shows T for a stopped one")),
                None => (format!("behind {socket}"), String::new()),
            };
            return anyhow!(
                "the bridge {whose} does not answer within {patience} s; it is stopped (SIGSTOP), hangs or has no \
                 processor time{stack}. `journalctl -u iot-bridge` tells its last words, `systemctl restart iot-bridge` \
                 starts it anew"
            );
        }
    };
    match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "no bridge runs here: there is no {socket}. `systemctl start iot-bridge` starts it; of one that was started \
             by hand, the directory of the socket is what RUNTIME_DIRECTORY says"
        ),
        ErrorKind::ConnectionRefused => {
            anyhow!("no bridge runs any more: {socket} is left over from one that was killed")
        }
        ErrorKind::PermissionDenied => {
            anyhow!(
                "only root and the group {STATUS_GROUP} may ask {socket}: use `sudo iot-bridge status`, or add yourself to \
                 the group with `sudo usermod -aG {STATUS_GROUP} {}` and log in again",
                accounts::own_name()
            )
        }
        _ => anyhow!("{socket} cannot be asked: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_ask_is_told_of_the_group_and_what_to_type() {
        let error = explain(Path::new("/run/status.sock"), &Unasked::Unreachable(ErrorKind::PermissionDenied.into()));
        let said = error.to_string();
        assert_eq!(
            said,
            format!(
                "only root and the group iot-bridge-status may ask /run/status.sock: use `sudo iot-bridge status`, or add \
                 yourself to the group with `sudo usermod -aG iot-bridge-status {}` and log in again",
                accounts::own_name()
            )
        );
    }
}
