//! The loop that forgets old deletions, a little at a time.

use std::time::Duration;

use entities::Store;
use entities::sync::purge;

/// Between two batches, so that phones and the desk come first.
const BREATH: Duration = Duration::from_millis(200);
/// Between two looks when there is nothing to do.
const REST: Duration = Duration::from_secs(3600);

/// Runs until it is dropped. Any number of workers may; what one deletes another does not find.
pub async fn purge(store: Store, days: u32) {
    loop {
        let pause = match purge::step(&store, days).await {
            Ok(true) => BREATH,
            Ok(false) => REST,
            Err(why) => {
                tracing::warn!(error = %why, "old deletions could not be forgotten; it is tried again");
                REST
            }
        };
        tokio::time::sleep(pause).await;
    }
}
