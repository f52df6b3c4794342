//! That the test house itself stands: fresh databases, and a postbox that takes mail.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use entities::clock::{Clock, Instant};
use migrations::Standing;

use crate::support::{Postbox, TestDb, on_both};

on_both!(a_test_gets_a_database_with_the_schema_of_this_program);

async fn a_test_gets_a_database_with_the_schema_of_this_program(db: TestDb) {
    let store = db.store(Clock::manual(Instant(1_800_000_000_000))).await;
    assert_eq!(migrations::standing(store.writer()).await.ok(), Some(Standing::Current));
    migrations::up(store.writer()).await.expect("a second time changes nothing");
    assert_eq!(migrations::standing(store.connection()).await.ok(), Some(Standing::Current));
    store.close().await.expect("it closes");
}

#[tokio::test]
async fn the_postbox_keeps_what_it_is_sent() {
    let postbox = Postbox::open().await;
    let port: u16 = postbox.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let mut answers = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut line = String::new();
    answers.read_line(&mut line).expect("a greeting");
    let mut say = &stream;
    for text in [
        "HELO test\r\n",
        "MAIL FROM:<desk@agency.example>\r\n",
        "RCPT TO:<ana@demo.example>\r\n",
        "DATA\r\n",
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\nDue =E2=80=94 soon\r\n.\r\n",
    ] {
        say.write_all(text.as_bytes()).expect("it takes the line");
        line.clear();
        answers.read_line(&mut line).expect("it answers");
        assert!(line.starts_with('2') || line.starts_with("354"), "{text}: {line}");
    }
    let mails = postbox.mails_to("ana@demo.example");
    assert_eq!(mails.len(), 1);
    assert_eq!((mails[0].subject.as_str(), mails[0].text.trim()), ("Grüße", "Due — soon"));
}
