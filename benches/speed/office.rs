//! People with as much work as they have in life: a caseworker with 17 cases, her supervisor with the team's 85.

use entities::sql;
use serde_json::json;

use crate::QUIET;
use crate::support::server::Server;
use crate::support::{Kind, Person, Phone, Town};
use crate::wire::{Wire, get};

/// Cases of the caseworker, and of the whole team.
const CASES: (usize, usize) = (17, 85);

const WORDS: &[&str] = &[
    "the",
    "school",
    "called",
    "about",
    "rent",
    "and",
    "her",
    "mother",
    "will",
    "visit",
    "on",
    "Tuesday",
    "letter",
    "from",
    "landlord",
    "was",
    "read",
    "together",
    "agreed",
    "to",
    "walk",
    "each",
    "morning",
    "slept",
    "better",
    "still",
    "worried",
    "clinic",
    "appointment",
    "moved",
    "job",
    "interview",
    "next",
    "week",
    "children",
    "bus",
    "pass",
    "arrived",
    "paid",
    "bill",
    "sister",
    "helps",
    "cooking",
    "class",
    "went",
    "well",
    "he",
    "feels",
    "ready",
    "asked",
    "for",
    "time",
];

/// A server with a team that has its cases.
pub struct Office {
    pub server: Server,
    pub town: Town,
    pub ana: Person,
    pub sam: Person,
    /// Ana's cases, which the supervisor sees too.
    pub cases: Vec<String>,
    held: usize,
}

impl Office {
    pub async fn open(town: Town) -> Office {
        let server = town.server_with(QUIET).await;
        let (ana, ben) = (server.person("ana@demo.example").await, server.person("ben@demo.example").await);
        let cases = takes_on(&ana, CASES.0).await;
        takes_on(&ben, CASES.1 - CASES.0).await;
        let sam = server.person("sam@demo.example").await;
        let mut phone = Phone::of(&sam);
        phone.pulls().await;
        assert_eq!(phone.ids("cases").len(), CASES.1, "the supervisor has the team's cases");
        Office { server, town, ana, sam, cases, held: 0 }
    }

    /// The two people, with what to call them.
    pub fn people(&self) -> [(&'static str, &Person); 2] {
        [("a caseworker's 17 cases", &self.ana), ("a supervisor's 85", &self.sam)]
    }

    /// Lays in notes of about 500 bytes of JSON until Ana's cases hold so many, each with a commit of its own, past the
    /// api: what is measured is reading them.
    pub async fn holds(&mut self, notes: usize) {
        while self.held < notes {
            self.lays_in(notes.min(self.held + 100_000)).await;
        }
        let writer = self.town.store.writer();
        sql::exec(writer, "analyze", vec![]).await.expect("statistics");
        if self.town.db.kind == Kind::Sqlite {
            // So many rows at once leave a log that is nothing like one of daily work.
            sql::exec(writer, "pragma wal_checkpoint(truncate)", vec![]).await.expect("a checkpoint");
        }
    }

    async fn lays_in(&mut self, notes: usize) {
        let (from, agency) = (self.held, self.agency().await);
        let side = self.town.store.side().await.expect("a transaction");
        let cases = self.cases.iter().enumerate().map(|(at, id)| format!("when {at} then '{id}'"));
        let case = format!("case i % {} {} end", self.cases.len(), cases.collect::<Vec<_>>().join(" "));
        let now = self.town.store.clock().now().0;
        // Words that differ from note to note as words do, or compression would look better than it is.
        let word = |at: usize| {
            let words = WORDS.iter().enumerate().map(|(at, word)| format!("when {at} then '{word}'"));
            let salt = 40_503 * (at + 1);
            let number = format!("((i + {salt}) * 2654435761) / 65536 % {}", WORDS.len());
            format!("case {number} {} end", words.collect::<Vec<_>>().join(" "))
        };
        let text = (0..9).map(word).collect::<Vec<_>>().join(" || ' ' || ");
        let numbers = format!(
            "with recursive n(i) as (select cast({} as bigint) union all select i + 1 from n where i < {notes}), \
             numbered as (select i, 'note-' || (100000000 + i) as id, {case} as case_id, \
             (select seq from sync_clock where agency_id = '{agency}') + i - {from} as seq from n)",
            from + 1
        );
        for insert in [
            format!(
                "insert into notes (id, agency_id, case_id, kind, late, body, client_words, visibility, status, \
                 contains_third_party, part2, author_id, recorded_at, seq, edit_seq, created_at, updated_at, \
                 created_by, updated_by) {numbers} select id, '{agency}', case_id, 'progress', false, {text}, \
                 null, 'team', 'draft', false, false, '{user}', {now}, seq, seq, {now}, {now}, \
                 '{user}', '{user}' from numbered",
                user = self.ana.user_id()
            ),
            format!(
                "insert into sync_feed (scope, tbl, row_id, agency_id, seq, entered, live, multi) {numbers} \
                 select 'case:' || case_id, 'notes', id, '{agency}', seq, seq, true, false from numbered"
            ),
            format!("update sync_clock set seq = seq + {} where agency_id = '{agency}'", notes - from),
        ] {
            sql::exec(&*side, &insert, vec![]).await.expect("the notes");
        }
        side.commit().await.expect("a commit");
        self.held = notes;
    }

    /// The cursor behind which so many notes lie.
    pub async fn cursor_before(&self, notes: usize) -> i64 {
        self.head().await - i64::try_from(notes).expect("a number")
    }

    pub async fn head(&self) -> i64 {
        let text = format!("select seq from sync_clock where agency_id = '{}'", self.agency().await);
        self.number(&text).await
    }

    async fn agency(&self) -> String {
        let text = "select agency_id from cases where id = $1";
        let row = sql::one(self.town.store.connection(), text, vec![self.cases[0].as_str().into()]).await;
        row.expect("the case").expect("the case").try_get_by_index(0).expect("its agency")
    }

    async fn number(&self, text: &str) -> i64 {
        let row = sql::one(self.town.store.connection(), text, vec![]).await.expect("a number").expect("a number");
        row.try_get_by_index(0).expect("a number")
    }

    /// A pull as bytes.
    pub fn pull(&self, person: &Person, cursor: i64, gzip: bool) -> Vec<u8> {
        let path = format!("/api/v1/sync?last_pulled_at={cursor}");
        let mut request = get(&self.server.url, &path, &person.token());
        if gzip {
            request.truncate(request.len() - 2);
            request.extend_from_slice(b"Accept-Encoding: gzip\r\n\r\n");
        }
        request
    }

    /// Pulls once, so that what happens once for each device has happened.
    pub async fn warm(&self, wire: &mut Wire, request: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for _ in 0..5 {
            let (status, answer) = wire.ask(request).await;
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
            body = answer;
        }
        body
    }
}

async fn takes_on(person: &Person, cases: usize) -> Vec<String> {
    let mut phone = Phone::of(person);
    phone.pulls().await;
    let case = |at| json!({"unit": "individual", "summary": format!("Case {at}")});
    let ids = (0..cases).map(|at| phone.creates("cases", case(at))).collect();
    phone.syncs().await;
    ids
}
