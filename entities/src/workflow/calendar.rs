//! The agency's working days and quiet hours.
//!
//! Everything here is about wall time; `zone.rs` turns the result into an instant. An agency
//! whose calendar has no working day at all (a mask of none, a year of holidays) must not hang
//! the engine: every search gives up after ten years and answers with the plain calendar day.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDateTime, NaiveTime, TimeDelta};

use crate::clock::Day;

const HORIZON_DAYS: i64 = 3660;

/// Hours in which nobody is disturbed. `from` later than `to` means over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// First quiet minute, wall time.
    pub from: NaiveTime,
    /// First minute that is open again, wall time.
    pub to: NaiveTime,
}

/// Which days an agency works, and when it is quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Monday first: true where the agency works.
    pub work_days: [bool; 7],
    /// Days off, whatever the weekday.
    pub holidays: BTreeSet<Day>,
    /// Quiet hours. With them, reminders also keep out of days off; without, they come at any time.
    pub quiet: Option<Quiet>,
}

impl Default for Calendar {
    fn default() -> Self {
        Calendar { work_days: [true, true, true, true, true, false, false], holidays: BTreeSet::new(), quiet: None }
    }
}

impl Calendar {
    /// True on a day that is neither off by weekday nor a holiday.
    pub fn is_working(&self, day: Day) -> bool {
        let weekday = day.0.weekday().num_days_from_monday() as usize;
        self.work_days.get(weekday).copied().unwrap_or(false) && !self.holidays.contains(&day)
    }

    /// The n-th working day after `day` (before it, when n is negative). `day` itself is day 0
    /// whether it is a working day or not, so n = 0 gives it back.
    pub fn working_day(&self, day: Day, n: i64) -> Day {
        let step = n.signum();
        let mut left = n.abs();
        let mut at = day;
        for _ in 0..HORIZON_DAYS.saturating_add(left.saturating_mul(7)).min(40_000) {
            if left == 0 {
                return at;
            }
            at = at.plus_days(step);
            if self.is_working(at) {
                left -= 1;
            }
        }
        if left == 0 { at } else { day.plus_days(n) }
    }

    /// How many working days lie after `from` up to and including `to`; 0 when `to` is not later.
    pub fn working_days_between(&self, from: Day, to: Day) -> i64 {
        let mut count = 0;
        let mut at = from;
        for _ in 0..HORIZON_DAYS {
            if at >= to {
                break;
            }
            at = at.plus_days(1);
            if self.is_working(at) {
                count += 1;
            }
        }
        count
    }

    /// True when a reminder may be shown at this wall time.
    pub fn is_open(&self, at: NaiveDateTime) -> bool {
        let Some(quiet) = self.quiet else { return true };
        self.is_working(Day(at.date())) && !quiet.covers(at.time())
    }

    /// The first open moment at or after this wall time; over a day off, at the same time of day where that is open.
    pub fn next_open(&self, at: NaiveDateTime) -> NaiveDateTime {
        let Some(quiet) = self.quiet else { return at };
        let mut moment = at;
        for _ in 0..HORIZON_DAYS {
            if self.is_open(moment) {
                return moment;
            }
            if !self.is_working(Day(moment.date())) {
                let time = if quiet.covers(moment.time()) { quiet.to } else { moment.time() };
                moment = Day(moment.date()).plus_days(1).0.and_time(time);
                continue;
            }
            let ends = moment.date().and_time(quiet.to);
            moment = if ends > moment { ends } else { Day(moment.date()).plus_days(1).0.and_time(quiet.to) };
        }
        at
    }

    /// The last open moment before this wall time, to the minute.
    pub fn last_open(&self, before: NaiveDateTime) -> NaiveDateTime {
        let Some(quiet) = self.quiet else { return before };
        let minute = TimeDelta::minutes(1);
        let mut moment = before - minute;
        for _ in 0..HORIZON_DAYS {
            if self.is_open(moment) {
                return moment;
            }
            if !self.is_working(Day(moment.date())) {
                moment = moment.date().and_time(NaiveTime::MIN) - minute;
                continue;
            }
            let starts = moment.date().and_time(quiet.from) - minute;
            moment = if starts < moment { starts } else { moment.date().and_time(NaiveTime::MIN) - minute };
        }
        before
    }
}

impl Quiet {
    fn covers(self, time: NaiveTime) -> bool {
        if self.from <= self.to { self.from <= time && time < self.to } else { time >= self.from || time < self.to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }
    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").unwrap()
    }
    fn quiet() -> Calendar {
        let hour = |h, m| NaiveTime::from_hms_opt(h, m, 0).unwrap();
        Calendar { quiet: Some(Quiet { from: hour(19, 0), to: hour(7, 30) }), ..Calendar::default() }
    }

    #[test]
    fn working_days_leave_out_weekends_and_holidays() {
        let mut calendar = Calendar::default();
        calendar.holidays.insert(day("2027-12-24"));
        assert_eq!(calendar.working_day(day("2027-12-23"), 3), day("2027-12-29"));
        calendar.holidays.insert(day("2027-12-27"));
        assert_eq!(calendar.working_day(day("2027-12-23"), 3), day("2027-12-30"));
        assert_eq!(calendar.working_day(day("2027-12-25"), 1), day("2027-12-28"));
        assert_eq!(calendar.working_day(day("2027-12-25"), 0), day("2027-12-25"));
        assert_eq!(calendar.working_day(day("2027-12-28"), -1), day("2027-12-23"));
        assert_eq!(calendar.working_days_between(day("2027-12-23"), day("2027-12-29")), 2);
    }

    #[test]
    fn an_agency_that_never_works_still_gets_an_answer() {
        let calendar = Calendar { work_days: [false; 7], ..quiet() };
        assert_eq!(calendar.working_day(day("2027-12-23"), 3), day("2027-12-26"));
        assert_eq!(calendar.next_open(at("2027-12-23T08:00")), at("2027-12-23T08:00"));
        assert_eq!(calendar.last_open(at("2027-12-23T08:00")), at("2027-12-23T08:00"));
    }

    #[test]
    fn a_quiet_moment_waits_for_the_next_open_one() {
        for (asked, open) in [
            ("2027-03-12T08:00", "2027-03-12T08:00"),
            ("2027-03-12T06:00", "2027-03-12T07:30"),
            ("2027-03-11T19:00", "2027-03-12T07:30"),
            ("2027-03-12T20:00", "2027-03-15T07:30"),
            ("2027-03-13T08:00", "2027-03-15T08:00"),
            ("2027-03-13T22:00", "2027-03-15T07:30"),
            ("2027-03-14T03:00", "2027-03-15T07:30"),
        ] {
            assert_eq!(quiet().next_open(at(asked)), at(open), "{asked}");
        }
        assert_eq!(Calendar::default().next_open(at("2027-03-13T03:00")), at("2027-03-13T03:00"));
    }

    #[test]
    fn the_last_open_moment_is_the_minute_before_it_gets_quiet() {
        assert_eq!(quiet().last_open(at("2027-03-12T20:00")), at("2027-03-12T18:59"));
        assert_eq!(quiet().last_open(at("2027-03-14T12:00")), at("2027-03-12T18:59"));
        assert_eq!(quiet().last_open(at("2027-03-15T07:00")), at("2027-03-12T18:59"));
    }

    proptest::proptest! {
        #[test]
        fn the_nth_working_day_has_n_working_days_up_to_it(from in 0_i64..2000, n in 1_i64..60, mask in 1_u8..128) {
            let calendar = Calendar {
                work_days: std::array::from_fn(|bit| mask & (1 << bit) != 0),
                ..Calendar::default()
            };
            let start = day("2026-01-01").plus_days(from);
            let end = calendar.working_day(start, n);
            proptest::prop_assert!(calendar.is_working(end));
            proptest::prop_assert_eq!(calendar.working_days_between(start, end), n);
        }
    }
}
