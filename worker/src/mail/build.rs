//! A message in the form that travels.

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::words::Words;
use entities::Instant;

/// Who a message is from, and the domain that its Message-ID belongs to.
#[derive(Clone, Debug)]
pub struct Sender {
    mailbox: Mailbox,
}

/// Why a message cannot take the form that travels.
#[derive(Debug, thiserror::Error)]
pub enum Unbuilt {
    /// An address is none.
    #[error("not an address that mail can go to")]
    Address,
    /// A part is missing or wrong.
    #[error("message: {0}")]
    Message(#[from] lettre::error::Error),
    /// Building it broke; that one message is given up and the others go on.
    #[error("building the message failed inside the mail library")]
    Panicked,
}

impl Sender {
    /// Reads `Name <address>` or an address alone.
    pub fn parse(text: &str) -> Result<Sender, Unbuilt> {
        Ok(Sender { mailbox: text.parse().map_err(|_| Unbuilt::Address)? })
    }

    /// The envelope's sender.
    pub fn address(&self) -> &Address {
        &self.mailbox.email
    }

    /// `<id@domain>`: the same for every attempt, so that a second copy can be recognised.
    pub fn message_id(&self, id: &str) -> String {
        format!("<{id}@{}>", self.mailbox.email.domain())
    }

    /// Builds the message. Names of people are left out on purpose: an address is enough, and a
    /// name is what breaks headers.
    pub fn build(&self, id: &str, to: &[Address], words: &Words, date: Instant) -> Result<Vec<u8>, Unbuilt> {
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.assemble(id, to, words, date)));
        made.unwrap_or(Err(Unbuilt::Panicked))
    }

    fn assemble(&self, id: &str, to: &[Address], words: &Words, date: Instant) -> Result<Vec<u8>, Unbuilt> {
        let mut message = Message::builder()
            .from(self.mailbox.clone())
            .date(date.utc().into())
            .message_id(Some(self.message_id(id)))
            .subject(words.subject.clone())
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for address in to {
            message = message.to(Mailbox::new(None, address.clone()));
        }
        let plain = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(words.text.clone());
        let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(words.html.clone());
        let message = message.multipart(MultiPart::alternative().singlepart(plain).singlepart(html))?;
        Ok(message.formatted())
    }
}

/// Reads an address as stored. What cannot be one is an error of that message alone.
pub(super) fn address(text: &str) -> Result<Address, Unbuilt> {
    if text.chars().any(|letter| letter.is_control()) {
        return Err(Unbuilt::Address);
    }
    text.parse().map_err(|_| Unbuilt::Address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words { subject: "A goal is due today".into(), text: "Plain\n".into(), html: "<p>Rich</p>".into() }
    }

    #[test]
    fn the_message_id_comes_from_the_outbox_and_from_nothing_else() {
        let sender = Sender::parse("Fieldstone <desk@agency.example>").unwrap();
        let at = Instant::parse("2027-03-14T12:00:00Z").unwrap();
        let to = [address("ana@demo.example").unwrap()];
        let one = String::from_utf8(sender.build("018f", &to, &words(), at).unwrap()).unwrap();
        assert!(one.contains("Message-ID: <018f@agency.example>\r\n"), "{one}");
        assert!(one.contains("Auto-Submitted: auto-generated\r\n"));
        assert!(one.contains("Date: Sun, 14 Mar 2027 12:00:00 +0000\r\n"), "{one}");
        assert!(one.contains("multipart/alternative"));
    }

    #[test]
    fn a_line_break_in_an_address_or_a_sender_is_an_error_of_that_message() {
        for text in ["ana@demo.example\r\nBcc: x@y.example", "ana", "", "a\0b@demo.example"] {
            assert!(address(text).is_err(), "{text:?}");
        }
        assert!(Sender::parse("Name\r\nBcc: x@y.example <desk@agency.example>").is_err());
    }
}
