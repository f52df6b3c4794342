//! What every request can reach, and what the api is told when it starts.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use entities::sync::Quiet;
use entities::sync::native::cursor::CursorKey;
use entities::{Instant, Store};
use tokio::sync::{OnceCell, watch};

use crate::limit::Limiter;
use crate::pace::Pace;
use crate::password::Passwords;
use crate::problem::Problem;
use crate::session::Recent;
use crate::sync::live::Heads;
use crate::tokens::Keys;

/// What the api is told when it starts. The root package reads it from file and environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where people reach this server, without a slash at the end; links in mails begin with it.
    pub public_url: String,
    /// Proxies whose word on the caller's address is taken.
    pub trusted_proxies: Vec<Network>,
    /// Requests a second from one address in the long run, over all processes; 0 sets no limit.
    pub rate_per_second: u32,
    /// Requests one address may send at once.
    pub rate_burst: u32,
    /// Connections that one address may hold open to this process; 0 sets no limit.
    pub connections_per_address: u32,
    /// Threads that answer; 0 means one for each core.
    pub workers: usize,
    /// Seconds that requests under way are given when the process is asked to stop.
    pub stop_secs: u64,
    /// Whether this is the demonstration, with its own pages under `/demo`.
    pub demo: bool,
    /// Seconds after which phones are asked to sync again when nothing presses.
    pub sync_every_secs: u32,
    /// How many passwords are looked at in this process at a time. Each takes 19 MiB and a core for a moment.
    pub passwords_at_once: usize,
    /// Keys that sign access tokens.
    pub keys: Arc<Keys>,
}

impl Config {
    /// The configuration that `up` has without any file, with the given keys.
    pub fn new(public_url: &str, keys: Keys) -> Config {
        Config {
            public_url: public_url.trim_end_matches('/').into(),
            trusted_proxies: Vec::new(),
            rate_per_second: 200,
            rate_burst: 2000,
            connections_per_address: 1000,
            workers: 0,
            stop_secs: 25,
            demo: false,
            sync_every_secs: 300,
            passwords_at_once: std::thread::available_parallelism().map_or(2, usize::from),
            keys: Arc::new(keys),
        }
    }
}

/// An address, or a range of them such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// True when the address lies in the range.
    pub fn holds(&self, address: IpAddr) -> bool {
        let (base, other, width) = match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(other)) => (u128::from(base.to_bits()), u128::from(other.to_bits()), 32),
            (IpAddr::V6(base), IpAddr::V6(other)) => (base.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.bits);
        base.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    }
}

impl std::str::FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Network, NotANetwork> {
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().map_err(|_| NotANetwork)?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| NotANetwork))?;
        if bits <= width { Ok(Network { base, bits }) } else { Err(NotANetwork) }
    }
}

/// The text is neither an address nor a range such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("must be an address or a range such as 10.0.0.0/8")]
pub struct NotANetwork;

/// What every request can reach. Cheap to clone; one for the whole process.
#[derive(Clone, Debug)]
pub struct State(Arc<Inner>);

/// The inside of [`State`].
#[derive(Debug)]
pub struct Inner {
    /// The database and the clock.
    pub store: Store,
    /// What the api was told.
    pub config: Config,
    /// Password hashing.
    pub passwords: Passwords,
    /// Sessions checked less than a second ago.
    pub recent: Recent,
    /// Requests by address.
    pub limiter: Limiter,
    /// When phones are asked to come back.
    pub pace: Pace,
    /// Devices for which nothing is pending.
    pub quiet: Quiet,
    /// The newest commit numbers, for those who listen.
    pub heads: Heads,
    /// Whether there is room for what is written.
    pub room: Room,
    /// The database's own key for cursors, once it has been asked for.
    cursor_key: OnceCell<CursorKey>,
    stopping: watch::Sender<bool>,
    /// Milliseconds by which the database's clock is ahead of this process's.
    ahead: AtomicI64,
}

impl State {
    /// The state of a new process.
    pub fn new(config: Config, store: Store) -> State {
        State(Arc::new(Inner {
            store,
            limiter: Limiter::new(config.rate_per_second, config.rate_burst),
            pace: Pace::new(config.sync_every_secs),
            passwords: Passwords::at_once(config.passwords_at_once),
            config,
            recent: Recent::default(),
            quiet: Quiet::new(|| Box::pin(tokio::task::yield_now())),
            heads: Heads::default(),
            room: Room::default(),
            cursor_key: OnceCell::new(),
            stopping: watch::Sender::new(false),
            ahead: AtomicI64::new(0),
        }))
    }

    /// The present by the database's clock, as last measured: tokens made by one process are read
    /// by another, and the two machines may disagree by days.
    pub fn now(&self) -> Instant {
        self.store.clock().now().plus_ms(self.ahead.load(Ordering::Relaxed))
    }

    /// Keys for cursors: the first seals, all open. Cursors were sealed by signing keys before the database had a key
    /// of its own.
    ///
    /// # Errors
    /// 503 when the database cannot be asked.
    pub async fn cursor_keys(&self) -> Result<Vec<CursorKey>, Problem> {
        let own = self.cursor_key.get_or_try_init(|| CursorKey::of(&self.store)).await?;
        Ok(std::iter::once(own.clone()).chain(self.config.keys.cursor_keys()).collect())
    }

    /// Compares this process's clock with the database's. One look-up on PostgreSQL.
    ///
    /// # Errors
    /// 503 when the database cannot be asked.
    pub async fn measure(&self) -> Result<(), Problem> {
        let theirs = self.store.now().await?;
        let ahead = theirs.0 - self.store.clock().now().0;
        // The way there and back is no difference of clocks.
        let ahead = if ahead.abs() < 2000 { 0 } else { ahead };
        self.ahead.store(ahead, Ordering::Relaxed);
        Ok(())
    }

    /// Turns true when the process is asked to stop; a stream that never ends by itself must end.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    /// Tells the streams that the process stops.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }
}

/// Writes that found the disk of the database full.
#[derive(Debug, Default)]
pub struct Room {
    /// When the last of them was, and when the log was told last.
    refused_at: AtomicI64,
    told_at: AtomicI64,
}

impl Room {
    /// Takes note of one. True where the log has not heard of any for a minute: every request might tell it.
    pub fn refused(&self, now: Instant) -> bool {
        self.refused_at.store(now.0, Ordering::Relaxed);
        let told = self.told_at.load(Ordering::Relaxed);
        now.0.abs_diff(told) >= A_MINUTE_MS
            && self.told_at.compare_exchange(told, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether there was one within the last minute. Nothing is tried to find out: somebody always writes.
    pub fn is_full(&self, now: Instant) -> bool {
        now.0.abs_diff(self.refused_at.load(Ordering::Relaxed)) < A_MINUTE_MS
    }
}

const A_MINUTE_MS: u64 = 60_000;

impl std::ops::Deref for State {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_once_a_minute_and_shown_for_one() {
        let (room, began) = (Room::default(), Instant(1_800_000_000_000));
        let after = |secs| began.plus_secs(secs);
        assert!(!room.is_full(began));
        assert!(room.refused(began) && !room.refused(after(59)) && room.refused(after(60)));
        assert!(room.is_full(after(119)) && !room.is_full(after(120)));
    }

    #[test]
    fn a_network_holds_its_own_addresses_and_no_others() -> Result<(), Box<dyn std::error::Error>> {
        let net: Network = "10.1.0.0/16".parse()?;
        assert!(net.holds("10.1.2.3".parse()?));
        assert!(net.holds("::ffff:10.1.2.3".parse()?));
        assert!(!net.holds("10.2.0.1".parse()?));
        assert!("0.0.0.0/0".parse::<Network>()?.holds("8.8.8.8".parse()?));
        assert!("::1".parse::<Network>()?.holds("::1".parse()?));
        for wrong in ["", "10.0.0.0/33", "example", "10.0.0.0/x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        Ok(())
    }
}
