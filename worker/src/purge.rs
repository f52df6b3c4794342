//! The loop that forgets old deletions and what the engine has done with, a little at a time.

use std::time::Duration;

use entities::Store;
use entities::sync::purge;
use entities::workflow::prune;

/// Between two batches, so that phones and the desk come first.
const BREATH: Duration = Duration::from_millis(200);
/// Between two looks when there is nothing to do.
const REST: Duration = Duration::from_secs(3600);

/// Runs until it is dropped. Any number of workers may; what one deletes another does not find.
pub async fn purge(store: Store, deletions_days: u32, workflow_days: u32) {
    loop {
        let deletions = purge::step(&store, deletions_days).await;
        let workflow = prune::step(&store, workflow_days).await;
        let mut pause = REST;
        for step in [deletions, workflow] {
            match step {
                Ok(true) => pause = BREATH,
                Ok(false) => (),
                Err(why) => tracing::warn!(error = %why, "what is old could not be forgotten; it is tried again"),
            }
        }
        tokio::time::sleep(pause).await;
    }
}
