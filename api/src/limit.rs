//! How often one address may call, and whose address it is.
//!
//! A bucket for each address, kept in memory, so that no request waits for the database. What a
//! process has let through it tells the others in steps, through `entities::people::rates`, and
//! takes over what all of them have let through. A process that sees less than a step of an address
//! in a second tells nothing: phones and people cost no write.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::HttpRequest;
use entities::Store;
use entities::people::rates;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::problem::Problem;
use crate::state::State;

/// A second, in the microseconds that buckets are measured in.
const SECOND: i64 = 1_000_000;
/// The least time between two rounds of telling.
const PAUSE: Duration = Duration::from_millis(50);
/// How often empty buckets are forgotten in memory, and in the database.
const SWEEP: Duration = Duration::from_secs(1);
const FORGET: Duration = Duration::from_secs(60);
/// Addresses told of in one transaction.
const ROUND: usize = 500;

/// How fast a bucket leaks and how much it holds.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Microseconds for which one request fills the bucket.
    gap: i64,
    /// Microseconds that fill it to the brim.
    room: i64,
    /// Requests after which the others are told.
    step: i64,
}

/// One address, as far as this process knows.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When it will be empty, in microseconds since the process began.
    empty_at: i64,
    /// Requests let through that nobody has been told of.
    untold: i64,
    /// When the first of them came.
    since: i64,
}

/// A bucket for each address; without limit when the rate is 0.
#[derive(Debug)]
pub struct Limiter {
    rate: Option<Rate>,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
    began: Instant,
    /// Somebody has reached a step.
    reached: Notify,
}

impl Limiter {
    /// So many a second in the long run, and so many at once, over all processes.
    pub fn new(per_second: u32, burst: u32) -> Limiter {
        let rate = (per_second > 0).then(|| {
            let gap = (SECOND / i64::from(per_second)).max(1);
            let step = i64::from(per_second.min(burst) / 10).max(1);
            Rate { gap, room: gap * i64::from(burst.max(1)), step }
        });
        Limiter { rate, buckets: Mutex::default(), began: Instant::now(), reached: Notify::new() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 with the seconds to wait.
    pub fn count(&self, address: IpAddr) -> Result<(), Problem> {
        self.count_at(address, self.now())
    }

    fn count_at(&self, address: IpAddr, now: i64) -> Result<(), Problem> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut buckets = self.buckets();
        let bucket = buckets.entry(household(address)).or_insert(Bucket { empty_at: now, untold: 0, since: now });
        let filled = (bucket.empty_at - now).max(0) + rate.gap;
        if filled > rate.room {
            let wait = u64::try_from((filled - rate.room) / SECOND).unwrap_or(0);
            return Err(Problem::TooMany { retry_after: wait + 1 });
        }
        bucket.empty_at = now + filled;
        if bucket.untold < rate.step && now - bucket.since > SECOND {
            (bucket.untold, bucket.since) = (0, now);
        }
        bucket.untold += 1;
        let reached = bucket.untold == rate.step;
        drop(buckets);
        if reached {
            self.reached.notify_one();
        }
        Ok(())
    }

    /// What the others have not been told of yet, for those addresses that have reached a step.
    fn untold(&self, rate: Rate) -> BTreeMap<IpAddr, i64> {
        let mut buckets = self.buckets();
        let reached = buckets.iter_mut().filter(|(_, bucket)| bucket.untold >= rate.step).take(ROUND);
        reached.map(|(address, bucket)| (*address, std::mem::take(&mut bucket.untold))).collect()
    }

    /// Takes over how full the buckets are with what all processes have let through.
    fn learn(&self, rate: Rate, filled: &[(IpAddr, i64)], now: i64) {
        let mut buckets = self.buckets();
        for (address, filled) in filled {
            if let Some(bucket) = buckets.get_mut(address) {
                bucket.empty_at = now + filled + bucket.untold * rate.gap;
            }
        }
    }

    /// Tells the others, and learns from them. What could not be told is kept for the next time.
    async fn settle(&self, store: &Store) -> entities::Result<()> {
        let Some(rate) = self.rate else { return Ok(()) };
        let untold = self.untold(rate);
        if untold.is_empty() {
            return Ok(());
        }
        // A bucketful is all that can matter, however long the database was away.
        let used = untold.iter().map(|(address, many)| (address.to_string(), (many * rate.gap).min(rate.room)));
        match rates::tell(store, &used.collect(), rate.room).await {
            Ok(filled) => {
                let filled: Vec<(IpAddr, i64)> =
                    filled.iter().filter_map(|(address, filled)| Some((address.parse().ok()?, *filled))).collect();
                self.learn(rate, &filled, self.now());
                Ok(())
            }
            Err(why) => {
                let mut buckets = self.buckets();
                for (address, many) in untold {
                    if let Some(bucket) = buckets.get_mut(&address) {
                        bucket.untold += many;
                    }
                }
                Err(why)
            }
        }
    }

    /// Forgets addresses that have been quiet, or every one ever seen would stay in memory.
    fn sweep(&self, now: i64) {
        self.buckets().retain(|_, bucket| bucket.empty_at > now || now - bucket.since <= SECOND);
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<IpAddr, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// Tells and learns until the process stops. While the database is away each process has its own limit.
pub async fn keep(state: State) {
    if state.limiter.rate.is_none() {
        return;
    }
    let mut stopping = state.stopping();
    let (mut swept, mut forgotten) = (Instant::now(), Instant::now());
    while !*stopping.borrow_and_update() {
        tokio::select! {
            _ = stopping.changed() => return,
            () = state.limiter.reached.notified() => (),
            () = sleep(SWEEP) => (),
        }
        // Not only when it is quiet: in a flood there is most to forget.
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            state.limiter.sweep(state.limiter.now());
        }
        let mut settled = state.limiter.settle(&state.store).await;
        if settled.is_ok() && forgotten.elapsed() >= FORGET {
            forgotten = Instant::now();
            settled = rates::forget(&state.store).await.map(|_| ());
        }
        if let Err(error) = settled {
            tracing::warn!(%error, "request rates could not be shared with the other processes");
            sleep(SWEEP).await;
        }
        sleep(PAUSE).await;
    }
}

/// An IPv6 line is given a whole /64, any address of which its owner may use.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
        four => four,
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
        let Some(address) = named(hop.trim()) else { break };
        seen = address.to_canonical();
        if !trusted(seen) {
            break;
        }
    }
    seen
}

/// The address of a hop; some proxies write the port with it.
fn named(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    bare.parse().or_else(|_| hop.parse().map(|at: SocketAddr| at.ip())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_read_with_its_port_and_without() {
        for hop in ["7.7.7.7", "7.7.7.7:1234"] {
            assert_eq!(named(hop), Some(IpAddr::from([7, 7, 7, 7])), "{hop}");
        }
        for hop in ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:1234"] {
            assert_eq!(named(hop), "2001:db8::7".parse().ok(), "{hop}");
        }
        for hop in ["", "unknown", "7.7.7.7:", "7.7.7.7:port"] {
            assert_eq!(named(hop), None, "{hop}");
        }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn let_through(limiter: &Limiter, now: i64, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.count_at(HERE, now).is_ok()).count()
    }

    #[test]
    fn a_bucket_takes_a_burst_and_then_what_has_leaked() {
        let limiter = Limiter::new(10, 50);
        assert_eq!(let_through(&limiter, 0, 100), 50);
        assert_eq!(let_through(&limiter, SECOND, 100), 10);
        let Err(Problem::TooMany { retry_after }) = limiter.count_at(HERE, SECOND) else { panic!("it is full") };
        assert_eq!(retry_after, 1);
        assert_eq!(let_through(&limiter, 100 * SECOND, 100), 50, "never more than a burst");
        assert_eq!(let_through(&Limiter::new(0, 1), 0, 1000), 1000, "0 is no limit");
    }

    #[test]
    fn what_others_let_through_counts_and_what_came_meanwhile_too() {
        let (limiter, rate) = (Limiter::new(10, 50), Limiter::new(10, 50).rate.unwrap());
        assert_eq!(let_through(&limiter, 0, 5), 5);
        assert_eq!(limiter.untold(rate), BTreeMap::from([(HERE, 5)]));
        assert_eq!(let_through(&limiter, 0, 2), 2);
        limiter.learn(rate, &[(HERE, 45 * rate.gap)], 0);
        assert_eq!(let_through(&limiter, 0, 100), 3);
    }

    #[test]
    fn those_who_call_seldom_cost_no_write() {
        let limiter = Limiter::new(100, 1000);
        let rate = limiter.rate.unwrap();
        for second in 0..60 {
            assert_eq!(let_through(&limiter, second * 2 * SECOND, 9), 9);
            assert!(limiter.untold(rate).is_empty());
        }
        assert_eq!(let_through(&limiter, 118 * SECOND, 1), 1);
        assert_eq!(limiter.untold(rate), BTreeMap::from([(HERE, 10)]));
        limiter.sweep(200 * SECOND);
        assert!(limiter.buckets().is_empty());
    }

    #[test]
    fn the_addresses_of_one_ipv6_line_share_a_bucket() {
        let address = |text: &str| household(text.parse().unwrap());
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("192.0.2.7"), "192.0.2.7".parse::<IpAddr>().unwrap());
    }
}
