//! Handing a message to a mail server, step by step, so that we know how far it came.
//!
//! Until the final dot is written nothing has been handed over and the message can be tried again.
//! After it, an answer that does not come means that nobody knows: the server may have taken it.
//! The library's own `send` does not tell the two apart, so the steps are taken one at a time.

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant as Tick;

/// All of one attempt, from the connection to the answer after the final dot. A message is handed
/// over in the first five sixths of it or not at all: the lease must outlast the attempt.
const ATTEMPT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    None,
    StartTls,
    Tls,
}

/// A mail server as configured.
#[derive(Clone, Debug)]
pub struct Server {
    host: String,
    port: u16,
    security: Security,
    login: Option<(String, SecretString)>,
    patience: Duration,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken it.
    Sent,
    /// It was not handed over, and may be later: busy, unreachable, a broken line before the end.
    Later {
        /// The server's code, if it gave one.
        code: Option<u16>,
        /// What was said or what broke.
        said: String,
    },
    /// The server did not come to hear of it: it is down, or will not have us.
    Unreached {
        /// The server's code, if it gave one.
        code: Option<u16>,
        /// What was said or what broke.
        said: String,
    },
    /// The server refuses it for good.
    Refused {
        /// The server's code.
        code: Option<u16>,
        /// What was said.
        said: String,
    },
    /// It was handed over and the answer did not come.
    Uncertain {
        /// What broke.
        said: String,
    },
}

/// An address that the server refuses for good, whatever the message and whoever it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The address.
    pub address: String,
    /// The server's code.
    pub code: Option<u16>,
    /// What was said.
    pub said: String,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// Addresses that nothing more is to be sent to; the others may have been served.
    pub refused: Vec<Refusal>,
    /// Addresses that could take nothing at the time, such as a full mailbox; where it was sent all
    /// the same, the others were served.
    pub put_off: Vec<String>,
}

impl From<Outcome> for Attempt {
    fn from(outcome: Outcome) -> Attempt {
        Attempt { outcome, refused: Vec::new(), put_off: Vec::new() }
    }
}

/// The addresses that a message for several did not go to.
#[derive(Debug, Default)]
struct LeftOut {
    refused: Vec<Refusal>,
    put_off: Vec<String>,
}

/// The URL of a mail server that this program cannot use; says what is wrong, never the password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(&'static str);

impl Server {
    /// Reads `smtp://`, `smtps://` or `smtp+starttls://`, with `user:password@` where needed.
    pub fn parse(url: &str) -> Result<Server, BadUrl> {
        let (scheme, rest) =
            url.split_once("://").ok_or(BadUrl("must begin with smtp://, smtps:// or smtp+starttls://"))?;
        let (security, default_port) = match scheme {
            "smtp" => (Security::None, 25),
            "smtp+starttls" => (Security::StartTls, 587),
            "smtps" => (Security::Tls, 465),
            _ => return Err(BadUrl("must begin with smtp://, smtps:// or smtp+starttls://")),
        };
        let rest = rest.split(['/', '?']).next().unwrap_or_default();
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let login = match login {
            Some(login) => {
                let (user, password) =
                    login.split_once(':').ok_or(BadUrl("needs a password with its user: user:password@"))?;
                Some((unescape(user)?, SecretString::from(unescape(password)?)))
            }
            None => None,
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| BadUrl("needs a number for its port"))?)
            }
            _ => (place, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(BadUrl("names no host"));
        }
        Ok(Server { host: host.to_owned(), port, security, login, patience: ATTEMPT })
    }

    /// The same server with less patience than the usual 30 s, never with more.
    pub fn patience(self, patience: Duration) -> Server {
        Server { patience: patience.min(ATTEMPT), ..self }
    }

    /// How long others wait for the answer to one message: a thirtieth of the patience, so that who
    /// comes last has most of its own left.
    pub(super) fn turn(&self) -> Duration {
        self.patience / 30
    }

    /// One attempt for one message. Never takes longer than the patience. `hand_over` is awaited
    /// when the server is ready to take the message and before the first byte of it is written;
    /// it writes down that from here on nobody can know, and says whether to go on: not after the
    /// instant that it is given.
    pub async fn send(
        &self,
        from: &Address,
        to: &[Address],
        message: &[u8],
        hand_over: impl AsyncFnOnce(Option<Tick>) -> bool,
    ) -> Attempt {
        let (mut came, mut left_out) = (Came::Nowhere, LeftOut::default());
        let attempt = self.attempt(from, to, message, hand_over, &mut came, &mut left_out);
        let outcome = match tokio::time::timeout(self.patience, attempt).await {
            Ok((outcome, line)) => {
                // How the farewell goes changes nothing, so nobody waits for it.
                if let Some(line) = line {
                    tokio::spawn(tokio::time::timeout(FAREWELL, farewell(line, outcome == Outcome::Sent)));
                }
                outcome
            }
            Err(_) => match came {
                Came::Nowhere => Outcome::Unreached { code: None, said: "no answer in time".into() },
                Came::ToTheServer => Outcome::Later { code: None, said: "no answer in time".into() },
                Came::ToTheMessage => Outcome::Uncertain { said: "no answer after the final dot".into() },
            },
        };
        Attempt { outcome, refused: left_out.refused, put_off: left_out.put_off }
    }

    async fn attempt(
        &self,
        from: &Address,
        to: &[Address],
        message: &[u8],
        hand_over: impl AsyncFnOnce(Option<Tick>) -> bool,
        came: &mut Came,
        left_out: &mut LeftOut,
    ) -> (Outcome, Option<AsyncSmtpConnection>) {
        let by = Tick::now() + self.patience * 5 / 6;
        let mut line = match self.connect().await {
            Ok(line) => line,
            // Whatever is refused here is refused to us, and no message has been named yet.
            Err(why) => return (Outcome::Unreached { code: why.status().map(u16::from), said: said(&why) }, None),
        };
        *came = Came::ToTheServer;
        let outcome = match ready(&mut line, from, to, message, left_out).await {
            Some(ended) => ended,
            None if Tick::now() > by => {
                Outcome::Later { code: None, said: "too slow: given up before the message was handed over".into() }
            }
            None if hand_over(Some(by)).await => {
                *came = Came::ToTheMessage;
                give(&mut line, message).await
            }
            None => Outcome::Later {
                code: None,
                said: "not handed over: another worker has it, or it took too long".into(),
            },
        };
        (outcome, Some(line))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let hello = ClientId::default();
        let tls = || TlsParameters::new(self.host.clone());
        let wrapped = if self.security == Security::Tls { Some(tls()?) } else { None };
        let place = (self.host.as_str(), self.port);
        let mut line = AsyncSmtpConnection::connect_tokio1(place, Some(self.patience), &hello, wrapped, None).await?;
        if self.security == Security::StartTls {
            line.starttls(tls()?, &hello).await?;
        }
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            line.auth(DEFAULT_MECHANISMS, &credentials).await?;
        }
        Ok(line)
    }
}

/// How far an attempt came.
#[derive(Clone, Copy)]
enum Came {
    /// No server has greeted us.
    Nowhere,
    /// One has, and hears of the message.
    ToTheServer,
    /// The message is being given to it: from here on nobody can know.
    ToTheMessage,
}

/// How long a server may take over our farewell.
const FAREWELL: Duration = Duration::from_secs(1);

async fn farewell(mut line: AsyncSmtpConnection, sent: bool) {
    if sent {
        // The message is theirs already, whatever they say now.
        let _said = line.quit().await;
    } else {
        line.abort().await;
    }
}

/// Up to the server's word that it is ready for the message; how it ended if it did not get there.
async fn ready(
    line: &mut AsyncSmtpConnection,
    from: &Address,
    to: &[Address],
    message: &[u8],
    left_out: &mut LeftOut,
) -> Option<Outcome> {
    let mut options = Vec::new();
    if !message.is_ascii() {
        if !line.server_info().supports_feature(Extension::EightBitMime) {
            return Some(Outcome::Refused { code: None, said: "the server takes no 8-bit mail".into() });
        }
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    if let Err(why) = line.command(Mail::new(Some(from.clone()), options)).await {
        return Some(early(&why));
    }
    let (mut refusal, mut later) = (None, None);
    let mut taken = 0;
    for address in to {
        match line.command(Rcpt::new(address.clone(), vec![])).await {
            Ok(_) => taken += 1,
            // One address of several that is refused keeps the mail from nobody else.
            Err(why) if why.is_permanent() => {
                let (code, words) = (why.status().map(u16::from), said(&why));
                if code.is_some_and(|code| is_about_the_address(code, &words)) {
                    left_out.refused.push(Refusal { address: address.to_string(), code, said: words });
                }
                refusal = Some(early(&why));
            }
            // Nor does one that cannot take it now, such as a full mailbox.
            Err(why) if why.status().is_some() => {
                left_out.put_off.push(address.to_string());
                later = Some(early(&why));
            }
            Err(why) => return Some(early(&why)),
        }
    }
    if taken == 0 {
        return Some(later.or(refusal).unwrap_or(Outcome::Refused { code: None, said: "no recipient".into() }));
    }
    line.command(Data).await.err().map(|why| early(&why))
}

/// Whether a server's last word on a recipient is about that address, and not about us, our message
/// or a rule of its own. The enhanced status (RFC 3463) says so where there is one: a subject of 1 is
/// the address, except 1.7 and 1.8, which are the sender's, and 2.1 is a mailbox that is closed. Many
/// servers check the sender only when they hear the recipient, so the code alone is believed only
/// where nothing more is said.
fn is_about_the_address(code: u16, said: &str) -> bool {
    let enhanced = said.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let mut parts = word.trim_matches('.').split('.');
        match (parts.next(), parts.next()?.parse::<u16>(), parts.next()?.parse::<u16>(), parts.next()) {
            (Some("5"), Ok(subject), Ok(detail), None) => Some((subject, detail)),
            _ => None,
        }
    });
    match enhanced {
        Some((1, detail)) => ![7, 8].contains(&detail),
        Some((2, detail)) => detail == 1,
        Some((0, 0)) | None => [550, 551, 553, 556].contains(&code),
        Some(_) => false,
    }
}

/// The message itself and the final dot.
async fn give(line: &mut AsyncSmtpConnection, message: &[u8]) -> Outcome {
    match line.message(message).await {
        Ok(_) => Outcome::Sent,
        Err(why) => match why.status() {
            Some(code) if why.is_permanent() => Outcome::Refused { code: Some(code.into()), said: said(&why) },
            Some(code) => Outcome::Later { code: Some(code.into()), said: said(&why) },
            None => Outcome::Uncertain { said: said(&why) },
        },
    }
}

/// Codes that are about our login and not about the message (RFC 4954): mended in the settings, not in it.
const OF_OUR_LOGIN: [u16; 4] = [530, 534, 535, 538];

/// An error before anything was handed over.
fn early(why: &lettre::transport::smtp::Error) -> Outcome {
    let code = why.status().map(u16::from);
    if code.is_some_and(|code| OF_OUR_LOGIN.contains(&code)) {
        // A server may name the recipient in it, and what is said of one that will not have us is logged.
        Outcome::Unreached { code, said: "the mail server wants another login".into() }
    } else if why.is_permanent() {
        Outcome::Refused { code, said: said(why) }
    } else {
        Outcome::Later { code, said: said(why) }
    }
}

/// What went wrong, in one line and without an end. A server's words are shown to operators only.
fn said(why: &lettre::transport::smtp::Error) -> String {
    let mut text = why.to_string();
    let mut source = std::error::Error::source(why);
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(300).collect()
}

fn unescape(text: &str) -> Result<String, BadUrl> {
    let wrong = || BadUrl("has a percent sign in user or password that is not written %25");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or_else(wrong);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_schemes_have_their_usual_ports() {
        for (url, port, security) in [
            ("smtp://mail.example", 25, Security::None),
            ("smtp://127.0.0.1:2525", 2525, Security::None),
            ("smtps://mail.example/", 465, Security::Tls),
            ("smtp+starttls://mail.example", 587, Security::StartTls),
        ] {
            let server = Server::parse(url).unwrap();
            assert_eq!((server.port, server.security), (port, security), "{url}");
        }
    }

    #[test]
    fn a_refusal_is_about_the_address_or_about_something_else() {
        for (code, said) in [
            (550, "permanent error (550): no such mailbox"),
            (550, "permanent error (550): 5.1.1 <x@y.example>: Recipient address rejected: User unknown"),
            (551, "user not local"),
            (553, "5.1.3 mailbox name not allowed"),
            (550, "5.2.1 The email account that you tried to reach is disabled"),
            (556, "5.1.10 the domain takes no mail"),
            (550, "host 10.1.2.3 says no such user"),
        ] {
            assert!(is_about_the_address(code, said), "{code} {said}");
        }
        for (code, said) in [
            (554, "5.7.1 relay access denied"),
            (554, "transaction failed"),
            (550, "5.7.1 blocked by policy"),
            (550, "5.7.26 unauthenticated sender"),
            (550, "5.1.8 <us@nowhere.example>: Sender address rejected: Domain not found"),
            (553, "5.1.7 bad sender"),
            (552, "5.2.2 mailbox full"),
            (552, "5.3.4 message too big"),
            (530, "5.7.0 authentication required"),
            (503, "bad sequence of commands"),
        ] {
            assert!(!is_about_the_address(code, said), "{code} {said}");
        }
    }

    #[test]
    fn a_login_is_unescaped_and_never_shown() {
        let server = Server::parse("smtps://us%40er:p%3Ass%25@mail.example:4650").unwrap();
        let (user, password) = server.login.as_ref().unwrap();
        assert_eq!((user.as_str(), password.expose_secret()), ("us@er", "p:ss%"));
        assert!(!format!("{server:?}").contains("p:ss"));
        for wrong in ["imap://x", "smtp://", "smtp://user@host", "smtp://host:port", "mail.example"] {
            assert!(Server::parse(wrong).is_err(), "{wrong}");
        }
    }
}
