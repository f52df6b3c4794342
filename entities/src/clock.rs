//! Time and identity, injected.
//!
//! Nothing in the product asks the machine what time it is except here, so a test can set the
//! clock and the worker can be asked what would happen next March. Instants are kept as
//! milliseconds so that both databases store the same bytes (a float or a text with nanoseconds
//! would come back different from what was written). Read `store.rs` next.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeZone, Utc};
use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z. Stored as BIGINT.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveValueType, Serialize, Deserialize,
)]
pub struct Instant(pub i64);

impl Instant {
    /// Latest instant accepted from outside: the end of the year 9999.
    pub const MAX: Instant = Instant(253_402_300_799_999);
    /// Earliest instant accepted from outside: the start of the year 1.
    pub const MIN: Instant = Instant(-62_135_596_800_000);

    /// Reads RFC 3339 with any offset; `None` when it is not that or outside the years 1 to 9999.
    pub fn parse(text: &str) -> Option<Instant> {
        let at = Instant(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis());
        (Instant::MIN..=Instant::MAX).contains(&at).then_some(at)
    }

    /// RFC 3339 in UTC with milliseconds, the form of REST and native sync.
    pub fn rfc3339(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// The same instant as chrono knows it; values outside chrono's range become the epoch.
    pub fn utc(self) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(self.0).single().unwrap_or_default()
    }

    /// This instant moved by a number of milliseconds, stopping at the ends of `i64`.
    pub fn plus_ms(self, ms: i64) -> Instant {
        Instant(self.0.saturating_add(ms))
    }

    /// This instant moved by a number of seconds.
    pub fn plus_secs(self, secs: i64) -> Instant {
        self.plus_ms(secs.saturating_mul(1000))
    }
}

impl From<DateTime<Utc>> for Instant {
    fn from(at: DateTime<Utc>) -> Self {
        Instant(at.timestamp_millis())
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A calendar date without a zone, such as a goal's due date. Stored as TEXT `YYYY-MM-DD`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveValueType, Serialize, Deserialize,
)]
#[sea_orm(value_type = "String")]
pub struct Day(pub NaiveDate);

impl Day {
    /// A day by year, month and day of month; `None` when there is no such day.
    pub fn ymd(year: i32, month: u32, day: u32) -> Option<Day> {
        NaiveDate::from_ymd_opt(year, month, day).map(Day)
    }

    /// This day moved by whole calendar days, stopping at the ends of the calendar.
    pub fn plus_days(self, days: i64) -> Day {
        chrono::TimeDelta::try_days(days).and_then(|by| self.0.checked_add_signed(by)).map_or(self, Day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d"))
    }
}

impl FromStr for Day {
    type Err = NotADay;

    /// Reads exactly `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Chrono takes signs and blanks too, and a year that is then written with more than four digits.
        let digits = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
        if text.len() != 10 || !text.bytes().enumerate().all(digits) {
            return Err(NotADay);
        }
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map(Day).map_err(|_| NotADay)
    }
}

/// The text is not a date in the form `YYYY-MM-DD`, or names a day that does not exist.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a date in the form YYYY-MM-DD")]
pub struct NotADay;

/// Where time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock; inside a transaction on PostgreSQL, the database's.
    System,
    /// A clock that a test or a rehearsal sets by hand.
    Manual(Arc<Hand>),
}

/// What a manual clock holds.
#[derive(Debug)]
pub struct Hand {
    at: AtomicI64,
    drawn: Option<AtomicU64>,
}

impl Clock {
    /// A clock that stands still until it is set.
    pub fn manual(at: Instant) -> Clock {
        Clock::Manual(Arc::new(Hand { at: AtomicI64::new(at.0), drawn: None }))
    }

    /// A manual clock that mints the same ids in the same order every time, for simulations that
    /// must be repeatable. Two of them on one database need seeds that lie apart.
    pub fn repeatable(at: Instant, seed: u64) -> Clock {
        Clock::Manual(Arc::new(Hand { at: AtomicI64::new(at.0), drawn: Some(AtomicU64::new(seed)) }))
    }

    /// The current instant as this process sees it.
    pub fn now(&self) -> Instant {
        match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
            Clock::System => Utc::now().into(),
            Clock::Manual(hand) => Instant(hand.at.load(Ordering::SeqCst)),
        }
    }

    /// Sets a manual clock; a system clock stays as it is.
    pub fn set(&self, to: Instant) {
        if let Clock::Manual(hand) = self {
            hand.at.store(to.0, Ordering::SeqCst);
        }
    }

    /// Moves a manual clock by milliseconds and says where it stands.
    pub fn advance_ms(&self, by: i64) -> Instant {
        self.set(self.now().plus_ms(by));
        self.now()
    }

    /// True for a clock set by hand.
    pub fn is_manual(&self) -> bool {
        matches!(self, Clock::Manual(_))
    }

    /// A new row id: UUIDv7 of this clock's time, 36 characters, so that ids made later sort later.
    pub fn mint(&self) -> String {
        self.mint_at(self.now())
    }

    /// A new row id that carries the given time.
    pub fn mint_at(&self, at: Instant) -> String {
        match self {
            Clock::Manual(hand) if hand.drawn.is_some() => {
                let number = hand.drawn.as_ref().map_or(0, |drawn| drawn.fetch_add(1, Ordering::SeqCst));
                let mut random = [0; 10];
                random[2..].copy_from_slice(&number.to_be_bytes());
                uuid7(at, &random)
            }
            _ => mint_at(at),
        }
    }
}

fn uuid7(at: Instant, random: &[u8; 10]) -> String {
    let ms = u64::try_from(at.0).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, random).into_uuid().to_string()
}

/// A new UUIDv7 that carries the given time.
pub fn mint_at(at: Instant) -> String {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness for ids")]
    let random: [u8; 10] = {
        let bytes = *uuid::Uuid::new_v4().as_bytes();
        [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[9], bytes[10], bytes[11], bytes[12]]
    };
    uuid7(at, &random)
}

/// Letters that no one mistakes for another when reading them out; without vowels, so that they
/// spell nothing.
const PLAIN: &[u8; 27] = b"23456789BCDFGHJKMNPQRSTVWXZ";

/// Whether a text is one that `draw_plain` draws: nothing that a person could have put into words.
pub fn is_plain(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| PLAIN.contains(&byte))
}

/// A random text of plain letters and digits, such as a case's reference. Nine of them are one of
/// 7.6 million million and say nothing about age, order or number.
pub fn draw_plain(length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness for ids")]
        let bytes = *uuid::Uuid::new_v4().as_bytes();
        // 243 is 9 times 27: bytes from there on would favour the first letters. Two bytes of a
        // UUID hold fixed bits.
        let fair = bytes.iter().enumerate().filter(|(at, byte)| !matches!(at, 6 | 8) && **byte < 243);
        text.extend(fair.take(length - text.len()).map(|(_, byte)| char::from(PLAIN[usize::from(byte % 27)])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_reads_back_as_written() {
        let at = Instant::parse("2027-03-14T12:00:00+02:00").map(Instant::rfc3339);
        assert_eq!(at.as_deref(), Some("2027-03-14T10:00:00.000Z"));
        assert_eq!(Instant::parse("yesterday"), None);
        assert_eq!(Instant::parse("+12345-01-01T00:00:00Z"), None);
    }

    #[test]
    fn a_day_is_ten_characters_and_nothing_else() {
        assert_eq!("2027-02-28".parse::<Day>().ok(), Day::ymd(2027, 2, 28));
        for wrong in ["2027-2-28", "2027-02-30", "", "2027-02-28T00:00", "+2027-02-28"] {
            assert!(wrong.parse::<Day>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_sort_by_the_clock_that_minted_them() {
        let clock = Clock::manual(Instant(1_800_000_000_000));
        let first = clock.mint();
        clock.advance_ms(1);
        assert!(first < clock.mint());
        assert_eq!(first.len(), 36);
    }
}
