//! What was measured, and whether it is good enough.

use std::fmt;

/// The results, in the order in which they were taken.
#[derive(Debug, Default)]
pub struct Table(Vec<Line>);

#[derive(Debug)]
struct Line {
    what: String,
    measured: String,
    value: f64,
    floor: Option<Floor>,
}

/// What a value has to reach.
#[derive(Clone, Copy, Debug)]
pub enum Floor {
    AtLeast(f64),
    AtMost(f64),
}

impl Table {
    /// Adds a result: what it is, its figures in words, and the value that the floor is about.
    pub fn add(&mut self, what: &str, measured: String, value: f64, floor: impl Into<Option<Floor>>) {
        println!("{what}: {measured}");
        self.0.push(Line { what: what.to_owned(), measured, value, floor: floor.into() });
    }

    /// True when no floor was missed.
    pub fn holds(&self) -> bool {
        self.0.iter().all(Line::holds)
    }
}

impl Line {
    fn holds(&self) -> bool {
        match self.floor {
            Some(Floor::AtLeast(least)) => self.value >= least,
            Some(Floor::AtMost(most)) => self.value <= most,
            None => true,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| measure | result | floor | |\n|---|---|---|---|")?;
        for line in &self.0 {
            let floor = match line.floor {
                Some(Floor::AtLeast(least)) => format!("at least {least}"),
                Some(Floor::AtMost(most)) => format!("at most {most}"),
                None => String::new(),
            };
            let held = if line.floor.is_none() {
                ""
            } else if line.holds() {
                "held"
            } else {
                "MISSED"
            };
            writeln!(f, "| {} | {} | {floor} | {held} |", line.what, line.measured)?;
        }
        Ok(())
    }
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
