//! Wall time and instants: the one place where a time zone is asked anything.
//!
//! A reminder is promised in wall time ("at eight in the morning, a week before"), and only the
//! zone knows which instant that is. Two moments a year have no plain answer: a time inside a
//! spring gap moves forward by the gap, and a time that happens twice in autumn is the first of
//! the two (RFC 5545). Timers, digests, quiet hours and simulation all come through here, so they
//! cannot disagree. The zone data is the one inside the binary, so two machines agree as well.

use std::fmt;
use std::sync::LazyLock;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::clock::{Day, Instant};

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone by its IANA name, such as `America/New_York`.
#[derive(Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// The zone of that name, or `None` when there is no such zone in the bundled data.
    pub fn named(name: &str) -> Option<Zone> {
        let zone = ZONES.get(name).ok()?;
        Some(Zone { name: name.to_owned(), zone })
    }

    /// Coordinated universal time, the last resort where no zone is set.
    pub fn utc() -> Zone {
        Zone { name: "UTC".into(), zone: TimeZone::UTC }
    }

    /// The name it was asked for by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instant at which clocks on the wall show this time. A time inside a gap is shifted
    /// forward by the gap; of a time that happens twice, the first.
    pub fn instant(&self, wall: NaiveDateTime) -> Instant {
        let civil = i16::try_from(wall.year()).ok().and_then(|year| {
            jiff::civil::DateTime::new(
                year,
                wall.month() as i8,
                wall.day() as i8,
                wall.hour() as i8,
                wall.minute() as i8,
                wall.second() as i8,
                i32::try_from(wall.nanosecond() % 1_000_000_000).unwrap_or(0),
            )
            .ok()
        });
        civil
            .and_then(|at| self.zone.to_ambiguous_timestamp(at).compatible().ok())
            .map_or_else(|| wall.and_utc().into(), |at| Instant(at.as_millisecond()))
    }

    /// What clocks on the wall show at this instant, to the second.
    pub fn wall(&self, at: Instant) -> NaiveDateTime {
        let Ok(stamp) = jiff::Timestamp::from_millisecond(at.0) else { return at.utc().naive_utc() };
        let civil = self.zone.to_datetime(stamp);
        NaiveDate::from_ymd_opt(i32::from(civil.year()), civil.month() as u32, civil.day() as u32)
            .and_then(|day| day.and_hms_opt(civil.hour() as u32, civil.minute() as u32, civil.second() as u32))
            .unwrap_or_else(|| at.utc().naive_utc())
    }

    /// The calendar date on the wall at this instant.
    pub fn day(&self, at: Instant) -> Day {
        Day(self.wall(at).date())
    }

    /// The first instant of a day: midnight, or the end of the gap where midnight is skipped.
    pub fn start_of(&self, day: Day) -> Instant {
        self.instant(day.0.and_time(NaiveTime::MIN))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").unwrap()
    }

    #[test]
    fn wall_time_becomes_the_instant_that_people_expect_around_clock_changes() {
        for (zone, local, utc) in [
            ("America/New_York", "2027-03-13T08:00", "2027-03-13T13:00:00.000Z"),
            ("America/New_York", "2027-03-14T02:30", "2027-03-14T07:30:00.000Z"),
            ("America/New_York", "2027-03-14T08:00", "2027-03-14T12:00:00.000Z"),
            ("America/New_York", "2027-11-07T01:30", "2027-11-07T05:30:00.000Z"),
            ("Europe/London", "2027-03-27T08:00", "2027-03-27T08:00:00.000Z"),
            ("Europe/London", "2027-03-28T08:00", "2027-03-28T07:00:00.000Z"),
            ("Pacific/Auckland", "2027-01-30T08:00", "2027-01-29T19:00:00.000Z"),
        ] {
            let at = Zone::named(zone).unwrap().instant(wall(local));
            assert_eq!(at.rfc3339(), utc, "{zone} {local}");
        }
    }

    #[test]
    fn a_day_begins_at_local_midnight() {
        for (zone, day, utc) in [
            ("America/New_York", (2027, 3, 15), "2027-03-15T04:00:00.000Z"),
            ("Europe/London", (2027, 3, 29), "2027-03-28T23:00:00.000Z"),
            ("Europe/London", (2027, 11, 1), "2027-11-01T00:00:00.000Z"),
        ] {
            let day = Day::ymd(day.0, day.1, day.2).unwrap();
            assert_eq!(Zone::named(zone).unwrap().start_of(day).rfc3339(), utc);
        }
    }

    #[test]
    fn a_name_that_is_no_zone_is_refused() {
        assert!(Zone::named("Riverbend/North").is_none());
        assert!(Zone::named("").is_none());
    }

    proptest::proptest! {
        #[test]
        fn every_wall_time_outside_a_gap_reads_back_as_itself(ms in 1_700_000_000_000_i64..2_100_000_000_000) {
            for name in ["America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu"] {
                let zone = Zone::named(name).unwrap();
                let shown = zone.wall(Instant(ms));
                let back = zone.instant(shown);
                proptest::prop_assert_eq!(zone.wall(back), shown);
                proptest::prop_assert!(back.0 <= ms);
            }
        }
    }
}
