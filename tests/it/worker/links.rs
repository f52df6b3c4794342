//! Where the links in mails lead.

use reqwest::Method;
use serde_json::json;

use super::office::{ANA, Office, PAT, SAM};
use crate::support::{Mail, World, on_both};

on_both!(every_link_in_a_mail_leads_to_a_page_and_names_what_the_mail_names);

const BASE: &str = "https://desk.riverbend.example";

/// The links of the text part.
fn links(mail: &Mail) -> Vec<String> {
    mail.text.split_whitespace().filter(|word| word.starts_with(BASE)).map(str::to_owned).collect()
}

async fn every_link_in_a_mail_leads_to_a_page_and_names_what_the_mail_names(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-08").await;
    office.referral(&case).await;
    office.post.refuses(PAT, "550 5.1.1 no such mailbox");
    let ada = office.world.ada().await;
    ada.post("/users", json!({"display_name": "Nia", "email": "nia@demo.example", "role": "caseworker"})).await.ok();
    office.works().await;
    // Goals, what partners are not told, the morning's digest.
    for instant in ["2027-03-02T13:05:00Z", "2027-03-07T13:05:00Z", "2027-03-16T13:05:00Z"] {
        office.works_at(instant).await;
        office.works().await;
    }
    let mails = office.post.mails();
    for who in [ANA, SAM, "nia@demo.example"] {
        assert!(mails.iter().any(|mail| mail.to == who), "nothing for {who}");
    }
    let (mut about_rows, mut passwords) = (0, 0);
    for mail in &mails {
        let found = links(mail);
        assert_eq!(found.len(), 1, "{}: {}", mail.subject, mail.text);
        let (path, about) = found[0].split_once('#').unwrap_or((&found[0], ""));
        let path = path.trim_start_matches(BASE);
        let path = if path.is_empty() { "/" } else { path };
        let stranger = office.world.stranger();
        // The invitation was used up neither by being sent nor by being looked at; its time is not over at once.
        if path.starts_with("/password/") {
            passwords += 1;
            continue;
        }
        let page = stranger.send(path, stranger.request(Method::GET, &format!("/{path}"))).await;
        assert_eq!((page.status, path), (200, "/"), "{}", mail.subject);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        if about.is_empty() {
            continue;
        }
        // `/goals/ID?reference=REF`, as the page's script reads it.
        let (row, reference) = about.split_once("?reference=").expect("a reference");
        assert!(mail.text.contains(&format!(" {reference}")), "{}: {about}", mail.text);
        let [_, table, id] = row.split('/').collect::<Vec<_>>()[..] else { panic!("{row}") };
        assert!(["cases", "goals", "contacts", "referrals"].contains(&table), "{table}");
        let there = office.asks(&format!("select id from {table} where id = $1"), vec![id.into()]).await;
        assert_eq!(there, [id]);
        about_rows += 1;
    }
    assert!(about_rows >= 3 && passwords == 1, "{about_rows} about rows, {passwords} invitations");
    let stranger = office.world.stranger();
    let page = stranger.get("//").await;
    assert!(page.header("content-security-policy").contains("script-src 'self'"), "{:?}", page.headers);
    assert!(!page.text.contains("<script>") && !page.text.contains("demo"), "{}", page.text);
    let script = stranger.get("//front/link.js").await;
    assert_eq!((script.status, script.header("content-type")), (200, "text/javascript; charset=utf-8"));
}
