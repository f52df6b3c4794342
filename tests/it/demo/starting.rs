//! The demo as a newcomer starts it.

use crate::support::server::free_port;
use crate::support::{Person, Phone, Server, World, fieldstone, on_both};

/// The demo on a free port, with its own data folder.
async fn demo(folder: &std::path::Path) -> Server {
    Server::start(&["demo", "--data", &folder.display().to_string()], &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_signs_in_and_finds_what_is_theirs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = demo(folder.path()).await;
    for (email, cases) in [
        ("ana@demo.example", 8),
        ("ben@demo.example", 6),
        ("cleo@demo.example", 6),
        ("sam@demo.example", 15),
        ("sol@demo.example", 6),
        ("omar@other.example", 4),
    ] {
        let mut phone = Phone::of(&server.person(email).await);
        phone.syncs().await;
        assert_eq!(phone.ids("cases").len(), cases, "{email}");
        assert!(phone.ids("goals").len() >= cases / 2, "{email}");
    }
    let pat = server.person("pat@partner.example").await;
    assert_eq!(Phone::of(&pat).asks("").await.status, 403);
    server.person("ada@demo.example").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_folder_is_filled_once_and_what_was_done_in_it_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = demo(folder.path()).await;
    let mut phone = Phone::of(&server.person("ana@demo.example").await);
    phone.syncs().await;
    let case = phone.ids("cases").pop_first().expect("a case");
    phone.edits("cases", &case, serde_json::json!({"summary": "Written on the second evening."}));
    phone.syncs().await;
    server.is_asked_to_stop();
    assert!(server.ends().await.success());
    let server = demo(folder.path()).await;
    let mut phone = Phone::of(&server.person("ana@demo.example").await);
    phone.syncs().await;
    assert_eq!(phone.ids("cases").len(), 8);
    assert_eq!(phone.column("cases", &case, "summary"), "Written on the second evening.");
}

#[test]
fn an_address_that_others_can_reach_is_refused_with_78() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let done = fieldstone(&["demo", "--listen", listen]).output().expect("the binary runs");
        assert_eq!(done.status.code(), Some(78));
        assert!(String::from_utf8_lossy(&done.stderr).contains("loopback only"), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_page_loads_and_runs_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = demo(folder.path()).await;
    let nobody = Person::at(&server.url, "nobody");
    let page = nobody.get("//demo/mail").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.header("content-type"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(!page.text.contains("<script"));
    nobody.get("//demo/mail/no-such-mail").await.refused(404);
    nobody.get("//demo/mail/no-such-mail/html").await.refused(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = format!("sqlite://{}", folder.path().join("fieldstone.db").display());
    for args in [&["migrate", "up"][..], &["admin", "create-agency", "Ours", "--tz", "Europe/London"]] {
        let done = fieldstone(args).env("FIELDSTONE_DATABASE_URL", &file).output().expect("the binary runs");
        assert!(done.status.success(), "{done:?}");
    }
    let listen = format!("127.0.0.1:{}", free_port());
    let done = fieldstone(&["demo", "--listen", &listen, "--data", &folder.path().display().to_string()])
        .output()
        .expect("the binary runs");
    assert_eq!(done.status.code(), Some(78), "{done:?}");
}

/// `/demo/mail` shows mail to whoever asks, so it must not be there otherwise.
async fn there_is_no_mail_page_outside_of_the_demo(world: World) {
    let ada = world.ada().await;
    ada.get("//demo/mail").await.refused(404);
    let document = ada.get("//openapi.json").await.ok();
    assert!(document["paths"].as_object().is_some_and(|paths| !paths.contains_key("/demo/mail")));
}
on_both!(there_is_no_mail_page_outside_of_the_demo);

/// The shell lines of the README's tour, as they stand there.
fn tour() -> String {
    let readme = include_str!("../../../README.md");
    let tour = readme.split_once("## A tour").and_then(|(_, rest)| rest.split_once("```sh\n"));
    tour.and_then(|(_, rest)| rest.split_once("```")).map(|(lines, _)| lines.to_owned()).expect("a tour in the README")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_of_the_readme_works_line_by_line_and_is_the_one_the_demo_prints() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = demo(folder.path()).await;
    let lines = tour().replace("http://127.0.0.1:8080", &server.url);
    for line in lines.lines() {
        assert!(server.log().contains(line), "not printed: {line}\n{}", server.log());
    }
    let done = std::process::Command::new("bash").args(["-eu", "-c", &lines]).output().expect("bash runs");
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    for part in
        ["\"summary\":", "\"statement\":", "{\"changes\":{", "\"status\":\"requested\"", "\"status\":\"accepted\""]
    {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(!said.contains("urn:fieldstone:problem"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_of_every_rule_is_there_to_read_within_seconds() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = demo(folder.path()).await;
    let nobody = Person::at(&server.url, "nobody");
    let wanted = [
        "A goal is due today",
        "A goal is overdue",
        "A follow-up is due today",
        "A missed appointment to follow up",
        "A new referral for you",
        "A referral has no answer",
        "A case may be ready to close",
        "Your team&#x27;s deadlines",
    ];
    let mut page = String::new();
    for _ in 0..400 {
        page = nobody.get("//demo/mail").await.text;
        if wanted.iter().all(|subject| page.contains(subject)) {
            break;
        }
        // The worker is another task of another process: there is nothing here to be told by.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for subject in wanted {
        assert!(page.contains(subject), "no mail called {subject}: {page}");
    }
    let first = page.split_once("<iframe").and_then(|(_, rest)| rest.split_once("src=\"")).map(|(_, rest)| rest);
    let path = first.and_then(|rest| rest.split_once('"')).map(|(path, _)| path).expect("the mail in a frame");
    let mail = nobody.get(&format!("/{path}")).await;
    assert_eq!(mail.status, 200);
    assert!(mail.header("content-security-policy").starts_with("sandbox"), "{:?}", mail.headers);
    assert_eq!(mail.header("x-frame-options"), "SAMEORIGIN");
}
