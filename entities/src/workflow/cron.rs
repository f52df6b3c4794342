//! Recurring wall times: five fields, at most one firing a day.
//!
//! The expression is evaluated on wall time alone and `zone.rs` turns the result into an instant,
//! because libraries that evaluate it on instants skip or repeat firings around clock changes.
//! What cannot be said simply is refused at load: more than one time a day, days by number of the
//! week (0 and 1 mean different days in different tools), or a day of month together with a
//! weekday (joined by "and" in some tools and by "or" in others).

use chrono::{Datelike, NaiveDateTime, NaiveTime};

use crate::clock::Day;

/// A recurring wall time such as `0 7 * * MON-FRI`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    time: NaiveTime,
    months: [bool; 12],
    days: Days,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    Month([bool; 31]),
    Week([bool; 7]),
}

/// Why an expression was refused; the text names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cron expression: {0}")]
pub struct Refused(String);

const DAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

impl Cron {
    /// Every day at this time.
    pub fn daily(time: NaiveTime) -> Cron {
        Cron { time, months: [true; 12], days: Days::Week([true; 7]) }
    }

    /// Reads `minute hour day-of-month month day-of-week`.
    pub fn parse(text: &str) -> Result<Cron, Refused> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, month_day, month, week_day] = fields.as_slice() else {
            return Err(Refused("five fields are needed: minute hour day month weekday".into()));
        };
        let single = |what: &str, text: &str| {
            text.parse::<u32>().map_err(|_| Refused(format!("{what} must be one number, so that it fires once a day")))
        };
        let time = NaiveTime::from_hms_opt(single("hour", hour)?, single("minute", minute)?, 0)
            .ok_or_else(|| Refused("hour is 0 to 23 and minute 0 to 59".into()))?;
        let months = numbers::<12>("month", month)?;
        let days = match (*month_day, *week_day) {
            ("*", week) => Days::Week(weekdays(week)?),
            (month, "*") => Days::Month(numbers::<31>("day of month", month)?),
            _ => return Err(Refused("give a day of month or a weekday, not both".into())),
        };
        Ok(Cron { time, months, days })
    }

    /// The first wall time later than this one, or `None` when there is none within eight years.
    pub fn next_after(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let mut day = Day(after.date());
        for _ in 0..3000 {
            let at = day.0.and_time(self.time);
            if at > after && self.falls_on(day) {
                return Some(at);
            }
            day = day.plus_days(1);
        }
        None
    }

    fn falls_on(&self, day: Day) -> bool {
        self.months[day.0.month0() as usize]
            && match &self.days {
                Days::Month(set) => set[day.0.day0() as usize],
                Days::Week(set) => set[day.0.weekday().num_days_from_monday() as usize],
            }
    }
}

fn numbers<const N: usize>(what: &str, text: &str) -> Result<[bool; N], Refused> {
    if text == "*" {
        return Ok([true; N]);
    }
    let mut set = [false; N];
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let bound = |text: &str| {
            text.parse::<usize>()
                .ok()
                .filter(|number| (1..=N).contains(number))
                .ok_or_else(|| Refused(format!("{what} takes numbers from 1 to {N}, ranges and lists of them")))
        };
        let (low, high) = (bound(low)?, bound(high)?);
        if low > high {
            return Err(Refused(format!("{what}: a range runs from the smaller to the greater")));
        }
        set[low - 1..high].fill(true);
    }
    Ok(set)
}

fn weekdays(text: &str) -> Result<[bool; 7], Refused> {
    if text == "*" {
        return Ok([true; 7]);
    }
    let mut set = [false; 7];
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let bound = |text: &str| {
            DAYS.iter()
                .position(|name| name.eq_ignore_ascii_case(text))
                .ok_or_else(|| Refused("weekdays are named MON to SUN".into()))
        };
        let (mut at, last) = (bound(low)?, bound(high)?);
        set[at] = true;
        while at != last {
            at = (at + 1) % 7;
            set[at] = true;
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::workflow::zone::Zone;

    fn instants(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (Cron::parse(text).unwrap(), Zone::named(zone).unwrap());
        let mut wall = zone.wall(Instant::parse(after).unwrap());
        (0..count)
            .map(|_| {
                wall = cron.next_after(wall).unwrap();
                zone.instant(wall).rfc3339().replace(":00.000Z", "Z")
            })
            .collect()
    }

    #[test]
    fn seven_in_the_morning_stays_seven_in_the_morning() {
        assert_eq!(
            instants("0 7 * * *", "America/New_York", "2027-03-13T00:00:00Z", 3),
            ["2027-03-13T12:00Z", "2027-03-14T11:00Z", "2027-03-15T11:00Z"]
        );
        assert_eq!(
            instants("0 7 * * *", "America/New_York", "2027-11-06T00:00:00Z", 2),
            ["2027-11-06T11:00Z", "2027-11-07T12:00Z"]
        );
    }

    #[test]
    fn a_clock_change_neither_skips_nor_repeats_a_firing() {
        assert_eq!(
            instants("30 2 * * *", "America/New_York", "2027-03-13T12:00:00Z", 2),
            ["2027-03-14T07:30Z", "2027-03-15T06:30Z"]
        );
        assert_eq!(
            instants("30 1 * * *", "America/New_York", "2027-11-07T00:00:00Z", 2),
            ["2027-11-07T05:30Z", "2027-11-08T06:30Z"]
        );
        // A search begun in the second pass goes on to the next day.
        assert_eq!(instants("30 1 * * *", "America/New_York", "2027-11-07T06:45:00Z", 1), ["2027-11-08T06:30Z"]);
    }

    #[test]
    fn working_mornings_are_named_by_day() {
        assert_eq!(
            instants("0 7 * * MON-FRI", "Europe/London", "2027-03-26T12:00:00Z", 2),
            ["2027-03-29T06:00Z", "2027-03-30T06:00Z"]
        );
        assert_eq!(instants("0 7 29 2 *", "Europe/London", "2027-03-26T12:00:00Z", 1), ["2028-02-29T07:00Z"]);
    }

    #[test]
    fn what_tools_read_differently_is_refused() {
        for text in ["* 7 * * *", "0 */2 * * *", "0 7 * * 1", "0 7 13 * FRI", "0 7 * *", "0 24 * * *", "0 7 0 * *"] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
    }
}
