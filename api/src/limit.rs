//! How often one address may call, and whose address it is.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::HttpRequest;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::problem::Problem;
use crate::state::State;

/// A bucket for each address; without limit when the rate is 0.
pub struct Limiter {
    buckets: Option<DefaultKeyedRateLimiter<IpAddr>>,
    calls: AtomicU32,
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limiter")
    }
}

impl Limiter {
    /// So many a second in the long run, and so many at once.
    pub fn new(per_second: u32, burst: u32) -> Limiter {
        let buckets = NonZeroU32::new(per_second).map(|rate| {
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(NonZeroU32::new(burst).unwrap_or(rate)))
        });
        Limiter { buckets, calls: AtomicU32::new(0) }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 with the seconds to wait.
    pub fn count(&self, address: IpAddr) -> Result<(), Problem> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        // Full buckets are forgotten now and then, or every address ever seen would stay in memory.
        if self.calls.fetch_add(1, Ordering::Relaxed) % 65_536 == 65_535 {
            buckets.retain_recent();
        }
        buckets.check_key(&address).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Problem::TooMany { retry_after: wait.as_secs() + 1 }
        })
    }
}

/// The caller's address: the peer's, or what a trusted proxy says of it. The last hop that is no
/// trusted proxy counts, since everything before it is the caller's own claim.
pub fn address(req: &HttpRequest, state: &State) -> IpAddr {
    let unknown = IpAddr::from([0, 0, 0, 0]);
    let peer = req.peer_addr().map_or(unknown, |peer| peer.ip().to_canonical());
    let trusted = |address: IpAddr| state.config.trusted_proxies.iter().any(|net| net.holds(address));
    if !trusted(peer) {
        return peer;
    }
    let mut seen = peer;
    let said: Vec<&str> = req
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in said.iter().rev() {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        seen = address.to_canonical();
        if !trusted(seen) {
            break;
        }
    }
    seen
}
