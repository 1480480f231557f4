//! What came of the connection, for people.

use std::fmt::{self, Write};

use super::topics::Verdict;
use super::{Bridge, Identity, PREFIX, Trial};

/// The width of the first column.
const WIDTH: usize = 11;

impl Trial {
    /// What was reached, as lines that a configuration takes for comments.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "# The connection to {}:{}:", self.endpoint, self.port)?;
        let mut line = |name: &str, what: &str| writeln!(text, "#   {name:WIDTH$}{what}");
        line("client id", &self.whose_id())?;
        if let Some(proxy) = &self.proxy {
            line("proxy", proxy)?;
        }
        if !self.addresses.is_empty() {
            let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
            line("name", &addresses.join(", "))?;
        }
        if let Some(address) = &self.address {
            line("TCP", &format!("{address} answers"))?;
        }
        if let Some(version) = self.tls {
            line("TLS", &format!("{version}; the broker's certificate is accepted"))?;
        }
        if let Some(version) = self.mqtt {
            let because = self.mqtt_because.as_ref().map(|why| format!(", because {why}")).unwrap_or_default();
            line("MQTT", &format!("{version}{because}; the broker accepts the client id"))?;
        }
        for lack in &self.broker_lacks {
            line("", lack)?;
        }
        self.write_bridge(&mut line)?;
        for topic in &self.topics {
            let verdict = match topic.verdict {
                Verdict::Allowed => "allowed",
                Verdict::Refused => "REFUSED",
                Verdict::Unanswered => "no answer",
                Verdict::Unknown => "not known",
            };
            line("topic", &format!("{}: {verdict}; {}", topic.mqtt, topic.because))?;
        }
        for topic in &self.untried {
            line("topic", &format!("{topic}: never tried; it tells others that the bridge comes or goes"))?;
        }
        if self.accepted && self.topics.iter().any(|topic| topic.verdict == Verdict::Unknown) {
            line("", self.how_to_know())?;
        }
        Ok(())
    }

    fn whose_id(&self) -> String {
        let Trial { client_id, own_id, .. } = self;
        match (self.identity, &self.bridge) {
            (Identity::Claim, _) => format!("{client_id}, with the claim: the robot is not provisioned yet"),
            (_, Bridge::Absent) => format!("{client_id}, the configured one: no bridge runs here"),
            (_, Bridge::Runs { .. }) => format!("{client_id}, because a bridge runs here, which has {own_id}"),
            (_, Bridge::Unseen { reason }) => {
                format!("{client_id}, because a bridge with {own_id} may run here: {reason}")
            }
        }
    }

    fn write_bridge(&self, line: &mut impl FnMut(&str, &str) -> fmt::Result) -> fmt::Result {
        match &self.bridge {
            Bridge::Runs { connected: Some(true), .. } => line("bridge", "the running one is connected"),
            Bridge::Runs { connected: Some(false), fault } => {
                let why = fault.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default();
                line("bridge", &format!("the running one is not connected{why}"))
            }
            Bridge::Runs { connected: None, .. } => line("bridge", "the running one does not say how it is"),
            Bridge::Absent | Bridge::Unseen { .. } => Ok(()),
        }
    }

    fn how_to_know(&self) -> &'static str {
        match (self.identity, &self.bridge) {
            (Identity::Claim, _) => "The robot's own certificate is asked for when the bridge is started.",
            (_, Bridge::Absent) => "Only a publish tells: --publish sends a test message to each topic.",
            _ => "With the service stopped, --publish sends a test message to each topic.",
        }
    }

    /// What is wrong, and what to do, for standard error. What [`Trial::lines`] says of topics is left to that, unless
    /// `quiet`.
    pub fn complaint(&self, quiet: bool) -> Option<String> {
        let Some(fault) = &self.fault else { return quiet.then(|| self.faulty_topics()) };
        let mut text = format!("No connection to {}: {}.", self.endpoint, fault.sentence);
        let is_beside = self.identity == Identity::Robot && !matches!(self.bridge, Bridge::Absent);
        if fault.refusal && is_beside {
            let own_id = &self.own_id;
            let _ = write!(
                text,
                "\nThat says nothing of {own_id}: a policy names the client ids that it allows. To have this one allowed \
                 beside a running bridge, add\n    {{ \"Effect\": \"Allow\", \"Action\": \"iot:Connect\", \"Resource\": \
                 \"arn:aws:iot:REGION:ACCOUNT:client/{PREFIX}*\" }}\nto its statements. Or stop the service (systemctl \
                 stop iot-bridge): then {own_id} itself is used."
            );
        }
        Some(text)
    }

    fn faulty_topics(&self) -> String {
        let faulty = self.topics.iter().filter(|topic| matches!(topic.verdict, Verdict::Refused | Verdict::Unanswered));
        faulty.map(|topic| format!("{}: {}.", topic.mqtt, topic.because)).collect::<Vec<_>>().join("\n")
    }
}
