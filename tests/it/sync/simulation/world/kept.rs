//! What somebody decides about kept work, and what has to be true of it then.

use entities::sync::custody::{self, Decision};
use entities::{Error, sql};

use super::{Step, World};

impl World {
    /// Settles some of what is kept; how much there was.
    pub(in crate::sync::simulation) async fn decides_some(&mut self) -> usize {
        let many = self.kept_open().await.len().min(6);
        for at in 0..many {
            self.take(Step::Decide { issue: at * 7, how: at + self.words as usize, case: at }).await;
        }
        many
    }

    /// Open issues about kept work: whose, and what was sent.
    async fn kept_open(&self) -> Vec<[String; 4]> {
        let text = "select i.id, i.user_id, q.raw, q.op from sync_issues i join sync_quarantine q on q.id = i.quarantine_id \
                    where i.status = 'open' and i.deleted_at is null order by i.id";
        let open = sql::all(self.agency.store.connection(), text, vec![]).await.expect("issues");
        open.iter().map(|row| [0, 1, 2, 3].map(|at| row.try_get_by_index(at).expect("text"))).collect()
    }

    /// Settles kept work in the name of somebody who was told of it. What is taken in stands in a row or in its
    /// history from then on, and what is not stays kept.
    pub(super) async fn decides(&mut self, issue: usize, how: usize, case: usize) {
        let open = self.kept_open().await;
        let Some([id, user, raw, op]) = open.get(issue % open.len().max(1)) else { return };
        let who = self.agency.users.iter().find(|(_, known, _)| known == user).expect("one of them").0;
        let decision = match how % 5 {
            0 => Decision::Discard,
            1 => Decision::Rehome(self.stored_case(case).await),
            _ => Decision::Accept,
        };
        let taken = decision != Decision::Discard && op != "delete";
        let actor = self.agency.actor(who, None);
        match custody::decide(&self.agency.store, &actor, id, decision, "as it was meant").await {
            Ok(()) if taken => {
                let stored = self.words_in_rows().await;
                for at in raw.match_indices("qzx").map(|(at, _)| at) {
                    assert!(
                        stored.contains(&raw[at..at + 10]),
                        "{} was taken in and stands nowhere",
                        &raw[at..at + 10]
                    );
                    if !self.taken_back.contains(&raw[at..at + 10]) {
                        self.owed.insert(raw[at..at + 10].to_owned());
                    }
                }
            }
            Ok(()) => (),
            Err(Error::Forbidden(_) | Error::NotFound | Error::Conflict { .. } | Error::Invalid(_)) => (),
            Err(error) => panic!("{who} settles {id}: {error}"),
        }
    }
}
