//! From the reasons of MQTT 5 to a [`Fault`].

use super::classify::other_version;
use super::{Fault, FaultKind, Peer};
use crate::config::Version;
use crate::mqtt::client::{Reason, ServerReason};

/// What it means that the broker's CONNACK refuses with `answer`.
pub(super) fn refused(answer: &ServerReason, peer: Peer<'_>) -> Fault {
    let client_id = &peer.options.client_id;
    let reason = answer.reason;
    let (kind, sentence) = match reason {
        Reason::BAD_USER_NAME_OR_PASSWORD | Reason::NOT_AUTHORIZED | Reason::BAD_AUTHENTICATION_METHOD => {
            (FaultKind::NotAuthorized, format!("the broker does not authorize {client_id} to connect ({reason})"))
        }
        Reason::BANNED => (FaultKind::NotAuthorized, format!("the broker has banned {client_id} ({reason})")),
        Reason::BAD_CLIENT_ID => {
            (FaultKind::BadClientId, format!("the broker does not allow the client id {client_id} ({reason})"))
        }
        Reason::SERVER_UNAVAILABLE | Reason::SERVER_BUSY | Reason::SERVER_SHUTTING_DOWN => {
            (FaultKind::Unavailable, format!("the broker says that its MQTT service is not available ({reason})"))
        }
        Reason::QUOTA_EXCEEDED | Reason::CONNECTION_RATE_EXCEEDED => {
            (FaultKind::QuotaExceeded, format!("the broker takes no more connections for now ({reason})"))
        }
        Reason::USE_ANOTHER_SERVER | Reason::SERVER_MOVED => return elsewhere(answer),
        Reason::UNSUPPORTED_VERSION => {
            let Fault { kind, sentence } = other_version(Version::V5, reason);
            (kind, sentence)
        }
        Reason::RETAIN_NOT_SUPPORTED => (
            FaultKind::Protocol,
            format!("the broker keeps no retained messages, and the last will is to be one ({reason})"),
        ),
        reason => (FaultKind::Protocol, format!("the broker refuses the connection ({reason})")),
    };
    Fault::new(kind, with_words(sentence, answer))
}

/// What it means that the broker ends the connection with `answer`.
pub(super) fn disconnected(answer: &ServerReason, peer: Peer<'_>) -> Fault {
    let reason = answer.reason;
    let (kind, sentence) = match reason {
        Reason::SESSION_TAKEN_OVER => (
            FaultKind::TakenOver,
            format!("another client has connected with the client id {} ({reason})", peer.options.client_id),
        ),
        Reason::KEEP_ALIVE_TIMEOUT => {
            (FaultKind::TimedOut, format!("the broker has heard nothing for the keep-alive time ({reason})"))
        }
        Reason::SERVER_BUSY | Reason::SERVER_SHUTTING_DOWN => {
            (FaultKind::Unavailable, format!("the broker goes out of service ({reason})"))
        }
        Reason::QUOTA_EXCEEDED | Reason::MESSAGE_RATE_TOO_HIGH | Reason::CONNECTION_RATE_EXCEEDED => {
            (FaultKind::QuotaExceeded, format!("the broker closed the connection over a quota ({reason})"))
        }
        Reason::USE_ANOTHER_SERVER | Reason::SERVER_MOVED => return elsewhere(answer),
        Reason::RECEIVE_MAXIMUM_EXCEEDED | Reason::TOPIC_ALIAS_INVALID | Reason::PACKET_ID_IN_USE => {
            (FaultKind::Protocol, format!("the broker finds the protocol broken ({reason})"))
        }
        // Nobody is to blame, and no publish.
        Reason::SUCCESS | Reason::ADMINISTRATIVE_ACTION | Reason::MAXIMUM_CONNECT_TIME => {
            (FaultKind::Network, format!("the broker ended the connection ({reason})"))
        }
        reason => (FaultKind::Disconnected, format!("the broker closed the connection ({reason})")),
    };
    Fault::new(kind, with_words(sentence, answer))
}

fn elsewhere(answer: &ServerReason) -> Fault {
    let place = match &answer.server {
        Some(server) => format!(" at {server:?}"),
        None => String::new(),
    };
    let sentence = format!("the broker wants to be looked for elsewhere{place} ({})", answer.reason);
    Fault::new(FaultKind::UseAnotherServer, with_words(sentence, answer))
}

/// Adds what the broker says of it itself.
fn with_words(sentence: String, answer: &ServerReason) -> String {
    match &answer.words {
        Some(words) => format!("{sentence}; it says {words:?}"),
        None => sentence,
    }
}
