//! The reason codes of MQTT 5 in words.

use std::fmt;

/// A reason code, as CONNACK, PUBACK, SUBACK and DISCONNECT carry one (MQTT 5.0, section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(pub u8);

impl Reason {
    pub const SUCCESS: Reason = Reason(0x00);
    /// Also the one word of MQTT 3.1.1 for a filter that is not granted.
    pub const UNSPECIFIED: Reason = Reason(0x80);
    pub const IMPLEMENTATION_SPECIFIC: Reason = Reason(0x83);
    pub const UNSUPPORTED_VERSION: Reason = Reason(0x84);
    pub const BAD_CLIENT_ID: Reason = Reason(0x85);
    pub const BAD_USER_NAME_OR_PASSWORD: Reason = Reason(0x86);
    pub const NOT_AUTHORIZED: Reason = Reason(0x87);
    pub const SERVER_UNAVAILABLE: Reason = Reason(0x88);
    pub const SERVER_BUSY: Reason = Reason(0x89);
    pub const BANNED: Reason = Reason(0x8a);
    pub const SERVER_SHUTTING_DOWN: Reason = Reason(0x8b);
    pub const BAD_AUTHENTICATION_METHOD: Reason = Reason(0x8c);
    pub const KEEP_ALIVE_TIMEOUT: Reason = Reason(0x8d);
    pub const SESSION_TAKEN_OVER: Reason = Reason(0x8e);
    pub const TOPIC_NAME_INVALID: Reason = Reason(0x90);
    pub const PACKET_ID_IN_USE: Reason = Reason(0x91);
    pub const RECEIVE_MAXIMUM_EXCEEDED: Reason = Reason(0x93);
    pub const TOPIC_ALIAS_INVALID: Reason = Reason(0x94);
    pub const PACKET_TOO_LARGE: Reason = Reason(0x95);
    pub const MESSAGE_RATE_TOO_HIGH: Reason = Reason(0x96);
    pub const QUOTA_EXCEEDED: Reason = Reason(0x97);
    pub const ADMINISTRATIVE_ACTION: Reason = Reason(0x98);
    pub const PAYLOAD_FORMAT_INVALID: Reason = Reason(0x99);
    pub const RETAIN_NOT_SUPPORTED: Reason = Reason(0x9a);
    pub const USE_ANOTHER_SERVER: Reason = Reason(0x9c);
    pub const SERVER_MOVED: Reason = Reason(0x9d);
    pub const CONNECTION_RATE_EXCEEDED: Reason = Reason(0x9f);
    pub const MAXIMUM_CONNECT_TIME: Reason = Reason(0xa0);

    /// Codes from 0x80 on are failures. Below it is also 0x10, of a publish for which nobody has a subscription.
    pub fn is_failure(self) -> bool {
        self.0 >= 0x80
    }

    /// Its name in the specification, if it has one.
    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "success",
            0x10 => "no matching subscribers",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8a => "banned",
            0x8b => "server shutting down",
            0x8c => "bad authentication method",
            0x8d => "keep alive timeout",
            0x8e => "session taken over",
            0x8f => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x92 => "packet identifier not found",
            0x93 => "receive maximum exceeded",
            0x94 => "topic alias invalid",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9a => "retain not supported",
            0x9b => "QoS not supported",
            0x9c => "use another server",
            0x9d => "server moved",
            0x9e => "shared subscriptions not supported",
            0x9f => "connection rate exceeded",
            0xa0 => "maximum connect time",
            0xa1 => "subscription identifiers not supported",
            0xa2 => "wildcard subscriptions not supported",
            _ => return None,
        })
    }
}

/// Its name and its number, by which it is found in the specification.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}, {:#04x}", self.0),
            None => write!(f, "reason {:#04x}", self.0),
        }
    }
}
