//! What the whole program needs around it: a DDS domain, a broker, a link to it, an observer, certificates, a directory.

use std::path::PathBuf;

use tempfile::TempDir;

use super::certificates::{Authority, IdentityFiles, Valid};
use super::domain;
use super::link::Link;
use super::mosquitto::Mosquitto;
use super::observer::Observer;

pub struct Stage {
    pub authority: Authority,
    pub mosquitto: Mosquitto,
    pub link: Link,
    pub observer: Observer,
    pub directory: TempDir,
    /// The bridge's own certificate and key.
    pub files: IdentityFiles,
}

impl Stage {
    /// The broker runs, the link is open and the observer has subscribed.
    pub async fn set() -> Stage {
        domain::enter();
        let authority = Authority::new("Test CA");
        let mosquitto = Mosquitto::start(&authority);
        let link = Link::open(mosquitto.port()).await;
        let mut observer = Observer::new(&authority);
        observer.subscribe(mosquitto.port()).await;
        let directory = tempfile::tempdir().unwrap();
        let files = authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
        let stage = Stage { authority, mosquitto, link, observer, directory, files };
        stage.trust(&stage.authority);
        stage
    }

    /// Has the bridge trust `authority` from its next connection on.
    pub fn trust(&self, authority: &Authority) {
        std::fs::write(self.root_ca(), &authority.pem).unwrap();
    }

    pub fn root_ca(&self) -> PathBuf {
        self.directory.path().join("rootCA.crt")
    }

    /// Where the queue is on the disk.
    pub fn queue(&self) -> PathBuf {
        self.directory.path().join("queue")
    }

    /// Writes a configuration for the thing `robot1` over the link, as fast as it goes; `rest` follows the first key of the `[queue]` table.
    pub fn configure(&self, rest: &str) -> PathBuf {
        let path = self.directory.path().join("config.toml");
        let text = format!(
            "[aws]\nendpoint = \"localhost\"\nport = {}\nthing = \"robot1\"\ncertificate = {:?}\nprivate_key = {:?}\n\
             root_ca = {:?}\n\n[mqtt.quotas]\npublishes_per_second = \"unlimited\"\n\
             bytes_per_second = \"unlimited\"\n\n[queue]\ndirectory = {:?}\n{rest}\n",
            self.link.port(),
            self.files.certificate,
            self.files.private_key,
            self.root_ca(),
            self.queue(),
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}
