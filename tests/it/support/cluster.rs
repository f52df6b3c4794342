//! A PostgreSQL of one test's own, durable as in production, that the test may stop and start.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::server::free_port;

/// A private cluster in a temporary folder; gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    room: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    /// Makes one and starts it, as `tests/with-postgres` does, with fsync on.
    pub fn start() -> Cluster {
        let room = tempfile::tempdir().expect("a temporary folder");
        let cluster = Cluster { bin: bin(), room, port: free_port() };
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(cluster.room.path()).status().expect("chown runs");
            assert!(owned.success());
        }
        let data = cluster.data();
        cluster.runs("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nmax_connections = 100\n",
            cluster.port,
            cluster.room.path().display(),
        );
        let file = Path::new(&data).join("postgresql.auto.conf");
        std::fs::write(file, settings).expect("the settings are written");
        cluster.is_started();
        cluster
    }

    /// Where it listens, as a superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it, waiting for nobody: `fast` lets it write down what it holds, `immediate` is a crash.
    pub fn stops(&self, mode: &str) {
        self.runs("pg_ctl", &["-D", &self.data(), "-m", mode, "-w", "-t", "60", "stop"]);
    }

    /// Starts it again and waits until it takes connections.
    pub fn is_started(&self) {
        let log = self.room.path().join("log");
        self.runs("pg_ctl", &["-D", &self.data(), "-l", &log.display().to_string(), "-w", "-t", "60", "start"]);
    }

    fn data(&self) -> String {
        self.room.path().join("data").display().to_string()
    }

    fn runs(&self, program: &str, args: &[&str]) {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // Nothing of it may hold this process's pipes open.
        command
            .args(args)
            .current_dir(self.room.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let done = command.status().expect("PostgreSQL's programs run");
        assert!(done.success(), "{args:?}: {done}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be down already.
        let stop = ["-D", &self.data(), "-m", "immediate", "-w", "stop"].map(str::to_owned);
        let mut command = Command::new(self.bin.join("pg_ctl"));
        if is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(self.bin.join("pg_ctl"));
        }
        let _ = command.args(stop).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// initdb refuses to run as root.
fn is_root() -> bool {
    let said = Command::new("id").arg("-u").output().expect("id runs");
    said.stdout.starts_with(b"0")
}

/// The newest server programs on this machine, found as `tests/with-postgres` finds them.
fn bin() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "how tests/with-postgres tells which programs it uses")]
    let named = std::env::var("PG_BINDIR").map(PathBuf::from).ok();
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    found.sort();
    let has = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    named
        .into_iter()
        .chain(found.into_iter().rev())
        .find(has)
        .expect("PostgreSQL's programs; or name them by PG_BINDIR")
}
