//! The real binary, started, watched and killed.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::person::Person;

/// The binary that this very test run built.
pub const BINARY: &str = env!("CARGO_BIN_EXE_fieldstone");

/// A command of the binary that sees no configuration but the caller's.
pub fn fieldstone(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    #[expect(clippy::disallowed_methods, reason = "to keep this process's settings from the one under test")]
    let settings = std::env::vars().filter(|(name, _)| name.starts_with("FIELDSTONE_"));
    for (name, _) in settings {
        command.env_remove(name);
    }
    // So that no fieldstone.toml of the developer's is found.
    command.args(args).current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// A running process of the binary, and what it has written so far. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub url: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `fieldstone COMMAND…` with these settings beside a free port, and waits until it says that it is ready.
    pub async fn start(command: &[&str], settings: &[(&str, &str)]) -> Server {
        let server = Server::launch(command, settings);
        server.ready().await;
        server
    }

    /// Starts it and does not wait.
    pub fn launch(command: &[&str], settings: &[(&str, &str)]) -> Server {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut child = fieldstone(command)
            .env("FIELDSTONE_LISTEN", &listen)
            .env("FIELDSTONE_PUBLIC_URL", format!("http://{listen}"))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        keep(child.stdout.take(), &log);
        keep(child.stderr.take(), &log);
        Server { child, url: format!("http://{listen}"), log }
    }

    /// Waits until `/readyz` says yes; gives up after 30 s, or when the process has ended.
    pub async fn ready(&self) {
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        for _ in 0..1500 {
            if let Ok(answer) = client.get(format!("{}/readyz", self.url)).send().await
                && answer.status().is_success()
            {
                return;
            }
            // Waiting for another process: there is nothing here to be told by.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not ready after 30 s. It wrote:\n{}", self.log());
    }

    /// Everything it has written to standard output and standard error.
    pub fn log(&self) -> String {
        self.log.lock().expect("no test panicked here").clone()
    }

    /// Somebody at this server, logged in.
    pub async fn person(&self, email: &str) -> Person {
        let person = Person::at(&self.url, email);
        person.logs_in().await;
        person
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// SIGKILL, and no chance to tidy up.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it has ended")
    }

    /// SIGTERM.
    pub fn is_asked_to_stop(&self) {
        self.is_told("TERM");
    }

    /// A signal by its name.
    pub fn is_told(&self, signal: &str) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it has written this; gives up after 20 s.
    pub async fn says(&self, what: &str) {
        for _ in 0..1000 {
            if self.log().contains(what) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not say {what} in 20 s. It wrote:\n{}", self.log());
    }

    /// Waits until it has ended by itself; gives up after 20 s.
    pub async fn ends(&mut self) -> ExitStatus {
        for _ in 0..1000 {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("still running after 20 s. It wrote:\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already, which is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep(pipe: Option<impl std::io::Read + Send + 'static>, log: &Arc<Mutex<String>>) {
    let (pipe, log) = (pipe.expect("the pipe was asked for"), Arc::clone(log));
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut log = log.lock().expect("no test panicked here");
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// A loopback port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("it has an address").port()
}
