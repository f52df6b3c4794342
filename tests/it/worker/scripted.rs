//! A mail server of our own that misbehaves as it is told, for the phases in which a real one
//! cannot be made to fail. That mail is right at all is read from a server nobody here wrote.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What to do with mail for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Take it.
    Take,
    /// 451 at RCPT.
    NotNow,
    /// 550 at RCPT; of `greeting` and `login`, refused as soon as that is said.
    Never,
    /// 554 after the final dot.
    NotThis,
    /// The line breaks when DATA is asked for.
    BreakBefore,
    /// The line breaks after the final dot; the server has the mail.
    BreakAfter,
    /// Take it, and think about it for a moment before saying so.
    SlowAnswer,
    /// Take it, and say so when it is told to do something else.
    Hesitate,
    /// Silence after the final dot; the server has the mail.
    SilentAfter,
    /// Silence from the greeting on.
    SilentBefore,
    /// Silence when it is told goodbye.
    NoFarewell,
}

/// A mail that reached the final dot.
#[derive(Clone, Debug)]
pub struct Taken {
    pub to: String,
    pub message_id: String,
}

#[derive(Clone, Debug, Default)]
pub struct Scripted {
    port: u16,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Scripted {
    pub async fn open() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = Scripted { port, ..Scripted::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                let serving = serving.clone();
                // A client that hangs up in the middle is part of the play.
                tokio::spawn(async move { serving.converse(line).await.ok() });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub fn tell(&self, address: &str, script: Script) {
        self.scripts.lock().expect("no test panicked here").insert(address.into(), script);
    }

    fn script(&self, address: &str) -> Script {
        let scripts = self.scripts.lock().expect("no test panicked here");
        scripts.get(address).or_else(|| scripts.get("*")).copied().unwrap_or(Script::Take)
    }

    /// Every mail that reached the final dot, whatever was answered.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().expect("no test panicked here").clone()
    }

    pub fn taken_for(&self, address: &str) -> Vec<Taken> {
        self.taken().into_iter().filter(|mail| mail.to == address).collect()
    }

    async fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        if self.script("greeting") == Script::SilentBefore {
            std::future::pending::<()>().await;
        }
        if self.script("greeting") == Script::Never {
            return write.write_all(b"554 no service here\r\n").await;
        }
        write.write_all(b"220 scripted\r\n").await?;
        let mut to = String::new();
        while let Some(line) = lines.next_line().await? {
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let script = self.script(&to);
            let answer = match verb.as_str() {
                "EHLO" => "250-scripted\r\n250-AUTH PLAIN\r\n250 8BITMIME",
                "AUTH" if self.script("login") == Script::Never => "535 5.7.8 wrong password",
                "AUTH" => "235 welcome",
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    match self.script(&to) {
                        Script::NotNow => "451 not now",
                        Script::Never => "550 no such mailbox",
                        _ => "250 ok",
                    }
                }
                "DATA" if script == Script::BreakBefore => return Ok(()),
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let (mut message_id, mut whole) = (String::new(), false);
                    while let Some(line) = lines.next_line().await? {
                        if let Some(id) = line.strip_prefix("Message-ID: ") {
                            message_id = id.to_owned();
                        }
                        if line == "." {
                            whole = true;
                            break;
                        }
                    }
                    if !whole {
                        return Ok(());
                    }
                    if script == Script::NotThis {
                        "554 not this"
                    } else {
                        self.taken.lock().expect("no test panicked here").push(Taken { to: to.clone(), message_id });
                        match script {
                            Script::BreakAfter => return Ok(()),
                            Script::SilentAfter => {
                                std::future::pending::<()>().await;
                                ""
                            }
                            Script::Hesitate => {
                                while self.script(&to) == Script::Hesitate {
                                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                                }
                                "250 taken"
                            }
                            Script::SlowAnswer => {
                                tokio::time::sleep(std::time::Duration::from_millis(60)).await;
                                "250 taken"
                            }
                            _ => "250 taken",
                        }
                    }
                }
                "QUIT" if script == Script::NoFarewell => {
                    std::future::pending::<()>().await;
                    ""
                }
                "QUIT" => {
                    write.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => "250 ok",
            };
            write.write_all(answer.as_bytes()).await?;
            write.write_all(b"\r\n").await?;
        }
        Ok(())
    }
}
