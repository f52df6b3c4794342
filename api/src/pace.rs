//! When to come back, so that a thousand phones do not return at once.
//!
//! Every answer of sync says in `Sync-After` after how many seconds the next sync is welcome: the interval
//! that the operator sets, longer while many requests are under way, and spread by a quarter to
//! either side. A refusal that asks to wait (429, 503) is spread too. The spread is drawn from the
//! request's own id, which comes from the injected clock: the same id, the same spread.

use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header that says it, in whole seconds.
pub const SYNC_AFTER: &str = "sync-after";
/// Operations whose answers carry it.
const OPERATIONS: [&str; 10] =
    ["pull", "push", "native_pull", "native_push", "rxdb_pull", "rxdb_push", "rescue", "salvage", "live", "repair"];
/// So many requests under way add the interval once more,
const BUSY: u32 = 16;
/// up to this many times.
const MOST: u32 = 6;

/// How busy this process is, and how often phones are asked to come.
#[derive(Debug)]
pub struct Pace {
    every_secs: u32,
    under_way: AtomicU32,
}

/// A request under way, counted until it is dropped.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a AtomicU32);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    /// Phones are asked to come this often when nothing presses.
    pub fn new(every_secs: u32) -> Pace {
        Pace { every_secs, under_way: AtomicU32::new(0) }
    }

    /// Counts a request.
    pub fn enter(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.under_way)
    }

    /// Seconds after which the device that asked under this request id should sync again.
    pub fn after(&self, request_id: &str) -> u64 {
        let times = 1 + (self.under_way.load(Ordering::Relaxed) / BUSY).min(MOST - 1);
        let secs = u64::from(self.every_secs) * u64::from(times);
        secs - secs / 4 + spread(request_id, secs / 2)
    }

    /// Puts it on the answer of a sync operation.
    pub fn dress(&self, headers: &mut HeaderMap, status: StatusCode, operation: &str, request_id: &str) {
        if says_when(operation, status) {
            headers.insert(HeaderName::from_static(SYNC_AFTER), HeaderValue::from(self.after(request_id)));
        }
    }
}

/// Whether an answer of this operation says when to come back.
pub fn says_when(operation: &str, status: StatusCode) -> bool {
    status.is_success() && OPERATIONS.contains(&operation)
}

/// Seconds to wait for one who was asked to wait so long: never less, and a little more for some. A wait of
/// more than a minute is one person's own and is left as it is.
pub fn retry_after(secs: u64, request_id: &str) -> u64 {
    if secs > 60 { secs } else { secs + spread(request_id, (secs / 2).max(2)) }
}

/// Milliseconds after which a live stream that broke off is opened again.
pub fn reconnect_ms(id: &str) -> u64 {
    1000 + spread(id, 9000)
}

/// A number from 0 to `most`, drawn from the random end of an id.
fn spread(id: &str, most: u64) -> u64 {
    let end = id.len().saturating_sub(12);
    let drawn = id.get(end..).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or_default();
    drawn % (most + 1)
}

#[cfg(test)]
mod tests {
    use entities::{Clock, Instant};

    use super::*;

    #[test]
    fn phones_are_spread_and_the_same_request_gets_the_same_answer() {
        let clock = Clock::repeatable(Instant(1_800_000_000_000), 7);
        let pace = Pace::new(300);
        let ids: Vec<String> = (0..1000).map(|_| clock.mint()).collect();
        let waits: Vec<u64> = ids.iter().map(|id| pace.after(id)).collect();
        assert!(waits.iter().all(|wait| (225..=375).contains(wait)));
        for tenth in 0..10 {
            let (from, to) = (225 + tenth * 15, 240 + tenth * 15);
            let here = waits.iter().filter(|wait| (from..to).contains(*wait)).count();
            assert!((50..200).contains(&here), "{here} of 1,000 phones from {from} to {to}");
        }
        let again: Vec<u64> = ids.iter().map(|id| pace.after(id)).collect();
        assert_eq!(waits, again);
    }

    #[test]
    fn phones_are_asked_to_stay_away_longer_while_many_requests_are_under_way() {
        let pace = Pace::new(100);
        let mut under_way = Vec::new();
        let mut told = Vec::new();
        for _ in 0..200 {
            told.push(pace.after("0"));
            under_way.push(pace.enter());
        }
        assert_eq!((told[0], told[16], told[64], told[199]), (75, 150, 375, 450));
        drop(under_way);
        assert_eq!(pace.after("0"), 75);
    }

    #[test]
    fn nobody_is_asked_back_earlier_than_was_said() {
        let clock = Clock::repeatable(Instant(1_800_000_000_000), 7);
        let waits: Vec<u64> = (0..100).map(|_| retry_after(1, &clock.mint())).collect();
        assert!(waits.iter().all(|wait| (1..=3).contains(wait)) && waits.contains(&1) && waits.contains(&3));
        assert_eq!(retry_after(900, &clock.mint()), 900);
        assert!((1000..=10_000).contains(&reconnect_ms(&clock.mint())));
    }
}
