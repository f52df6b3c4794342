//! A real SMTP server that nobody here wrote (aiosmtpd, in a process of its own) and the mail it took in.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mailparse::{MailHeaderMap, ParsedMail};
use tokio::io::AsyncReadExt;

use super::server::free_port;

/// A mail server that keeps what it is given in a Maildir. Killed, and its mail removed, when dropped.
#[derive(Debug)]
pub struct Postbox {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

/// A mail as it arrived.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The envelope's recipient, not the header's.
    pub to: String,
    pub subject: String,
    pub message_id: String,
    /// The plain text part, decoded.
    pub text: String,
    /// The HTML part, decoded.
    pub html: String,
    /// Every part that holds words, decoded, whatever its type.
    pub parts: Vec<String>,
    /// Name and value of every header, decoded and unfolded, those of parts too.
    pub headers: Vec<(String, String)>,
    /// The bytes that came over the wire.
    pub raw: String,
}

impl Postbox {
    /// Starts the server and waits for its greeting.
    pub async fn open() -> Postbox {
        let python = python();
        assert!(
            python.exists(),
            "no {}. Run `tests/run prepare` once: it installs the mail server that the tests send to",
            python.display()
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let child = Command::new(python)
            .args(["-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{port}"), "-c", "choosy.Choosy"])
            .arg(folder.path().join("mail"))
            .env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("aiosmtpd starts");
        let postbox = Postbox { child, port, folder };
        postbox.greets().await;
        postbox
    }

    async fn greets(&self) {
        for _ in 0..1000 {
            if let Ok(mut line) = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await {
                let mut greeting = [0; 3];
                if line.read_exact(&mut greeting).await.is_ok() && &greeting == b"220" {
                    return;
                }
            }
            // Waiting for another process: there is nothing here to be told by.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("aiosmtpd does not answer on port {}", self.port);
    }

    /// What to set FIELDSTONE_SMTP_URL to.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Answers this to a recipient from now on, or after `data:` to a message for them.
    pub fn refuses(&self, address: &str, reply: &str) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(self.folder.path().join("refused"));
        writeln!(file.expect("the list of refusals"), "{address}\t{reply}").expect("it is written");
    }

    /// Takes everything again.
    pub fn refuses_nothing(&self) {
        std::fs::write(self.folder.path().join("refused"), "").expect("the list of refusals");
    }

    /// How often somebody tried to send to an address.
    pub fn tried(&self, address: &str) -> usize {
        let tried = std::fs::read_to_string(self.folder.path().join("tried")).unwrap_or_default();
        tried.lines().filter(|line| *line == address).count()
    }

    /// Everything that has arrived, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        let folder = self.folder.path().join("mail/new");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        files.sort_by_key(|file| (modified(file), file.clone()));
        files.iter().map(|file| Mail::read(&std::fs::read(file).expect("a mail in the Maildir"))).collect()
    }

    /// What has arrived for one person.
    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        self.mails().into_iter().filter(|mail| mail.to == address).collect()
    }
}

impl Drop for Postbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Mail {
    fn read(raw: &[u8]) -> Mail {
        let mail = mailparse::parse_mail(raw).expect("a mail that can be parsed");
        let header = |name: &str| mail.headers.get_first_value(name).unwrap_or_default();
        Mail {
            to: header("X-RcptTo"),
            subject: header("Subject"),
            message_id: header("Message-ID"),
            text: part(&mail, "text/plain").unwrap_or_default(),
            html: part(&mail, "text/html").unwrap_or_default(),
            parts: mail.parts().filter_map(|part| part.get_body().ok()).collect(),
            headers: mail
                .parts()
                .flat_map(|part| part.headers.iter())
                .map(|header| (header.get_key(), header.get_value()))
                .collect(),
            raw: String::from_utf8_lossy(raw).into_owned(),
        }
    }

    /// A header by name, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Every decoded word of it: headers and parts, for searching what must not be in any of them.
    pub fn everything(&self) -> String {
        let mut all = format!("{}\n{}", self.raw, self.parts.join("\n"));
        for (key, value) in &self.headers {
            all.push_str(&format!("\n{key}: {value}"));
        }
        all
    }
}

fn part(mail: &ParsedMail<'_>, wanted: &str) -> Option<String> {
    mail.parts().find(|part| part.ctype.mimetype == wanted).and_then(|part| part.get_body().ok())
}

fn modified(file: &Path) -> Option<std::time::SystemTime> {
    file.metadata().and_then(|about| about.modified()).ok()
}

/// The Python that `tests/run prepare` set up.
fn python() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "lets another Python with aiosmtpd be named")]
    match std::env::var_os("FIELDSTONE_TEST_PYTHON") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python"),
    }
}
