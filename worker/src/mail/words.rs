//! Wording: templates in `worker/templates/`, one text and one HTML part each, and nothing that
//! is not in them.
//!
//! The first line of the text part is the subject. Undefined values are errors, so that a slip in
//! a template is found by the test that renders each with sample data and not by a reader.

use entities::Day;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, State, UndefinedBehavior};

/// A message in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Subject line: neutral, never about a person.
    pub subject: String,
    /// Plain text part.
    pub text: String,
    /// HTML part.
    pub html: String,
}

/// Why a message could not be worded.
#[derive(Debug, thiserror::Error)]
pub enum Unworded {
    /// There is no such template, or it failed on the values it was given.
    #[error("template: {0}")]
    Template(#[from] minijinja::Error),
    /// The text part does not begin with a subject.
    #[error("template: the text part of {0} must begin with `Subject: `")]
    NoSubject(String),
}

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        /// Names of all templates.
        pub const NAMES: &[&str] = &[$($name),+];
        const SOURCES: &[(&str, &str)] = &[
            ("layout.html", include_str!("../../templates/layout.html")),
            $(
                (concat!($name, ".txt"), include_str!(concat!("../../templates/", $name, ".txt"))),
                (concat!($name, ".html"), include_str!(concat!("../../templates/", $name, ".html"))),
            )+
        ];
    };
}

templates!(
    "address_refused",
    "closure_ready",
    "digest",
    "follow_up",
    "goal_deadline",
    "goal_overdue",
    "invitation",
    "no_show",
    "password_changed",
    "password_reset",
    "referral_reminder",
    "referral_requested",
    "referral_silent",
    "referral_unreachable",
    "session_ended",
    "something_waits",
);

/// The templates, parsed.
#[derive(Debug)]
pub struct Templates(Environment<'static>);

impl Templates {
    /// Parses every template.
    pub fn new() -> Result<Templates, Unworded> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(
            |name| {
                if name.ends_with(".txt") { AutoEscape::None } else { AutoEscape::Html }
            },
        );
        environment.add_filter("day", day);
        for (name, source) in SOURCES {
            environment.add_template(name, source)?;
        }
        Ok(Templates(environment))
    }

    /// Words a message. `data` is an object; what a template asks for must be in it.
    pub fn render(&self, name: &str, data: &serde_json::Value) -> Result<Words, Unworded> {
        let values = Value::from(Serde(data));
        let text = self.0.get_template(&format!("{name}.txt"))?.render(&values)?;
        let mut page = self.0.get_template(&format!("{name}.html"))?.render_captured(&values)?;
        // Why it came stands once, in the page, and without markup.
        let foot = page.with_state_mut(|state| state.render_block("foot"))?;
        let html = page.into_output();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let subject = first.strip_prefix("Subject: ").ok_or_else(|| Unworded::NoSubject(name.to_owned()))?;
        Ok(Words { subject: subject.trim().to_owned(), text: format!("{}\n\n{foot}\n", rest.trim_end()), html })
    }
}

/// `{{ on|day }}`: a day of the data, `YYYY-MM-DD`, as people read it. What year goes without saying
/// is that of `today`, which is the reader's.
fn day(state: &State<'_, '_>, value: &Value) -> String {
    let read = |value: &Value| value.as_str().and_then(|text| text.parse::<Day>().ok());
    match read(value) {
        Some(day) => spoken(day, state.lookup("today").as_ref().and_then(read)),
        // A reminder with a gap in it is better than none.
        None => "a day that is not known".into(),
    }
}

/// `Tuesday, 24 November`, with the year where it is not this one.
fn spoken(day: Day, today: Option<Day>) -> String {
    use chrono::Datelike;
    let this_year = today.is_some_and(|today| today.0.year() == day.0.year());
    day.0.format(if this_year { "%A, %-d %B" } else { "%A, %-d %B %Y" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> serde_json::Value {
        json!({
            "reference": "QX7ZP2M4K", "case_reference": "QX7ZP2M4K", "on": "2027-03-14", "today": "2027-03-07", "days": 7,
            "when": "is due in 7 days", "link": "https://desk.example/#/goals/1", "hours": 72, "minutes": 30, "own": false, "name": "Ana Ortiz",
            "account": true, "agency": "Riverbend", "told": 2, "reminded": 1,
            "sections": [{"title": "Overdue goals", "count": 1, "lines": [{"reference": "QX7ZP2M4K", "on": "2027-03-01"}]}],
        })
    }

    #[test]
    fn every_template_can_be_worded() {
        let templates = Templates::new().unwrap();
        for name in NAMES {
            let words = templates.render(name, &sample()).unwrap();
            assert!(!words.subject.is_empty() && !words.subject.contains("QX7"), "{name}: {}", words.subject);
            assert!(words.text.contains("https://desk.example/#/goals/1"), "{name}");
            assert!(words.html.contains("https:&#x2f;&#x2f;desk.example"), "{name}: {}", words.html);
        }
    }

    #[test]
    fn both_parts_say_why_the_mail_came() {
        let templates = Templates::new().unwrap();
        for name in NAMES {
            let words = templates.render(name, &sample()).unwrap();
            let why = words.text.trim_end().rsplit('\n').next().unwrap_or_default();
            assert!(why.starts_with("Sent by Fieldstone") && words.html.contains(why), "{name}: {}", words.text);
        }
        let words = templates.render("referral_requested", &sample()).unwrap();
        assert!(words.text.contains("because a referral is addressed to your organisation"), "{}", words.text);
    }

    #[test]
    fn days_are_written_as_people_read_them() {
        let templates = Templates::new().unwrap();
        for name in NAMES {
            let words = templates.render(name, &sample()).unwrap();
            for part in [&words.subject, &words.text, &words.html] {
                assert!(!part.contains("2027-"), "{name}: {part}");
            }
        }
        let words = templates.render("goal_deadline", &sample()).unwrap();
        assert!(words.text.contains("in 7 days, on Sunday, 14 March."), "{}", words.text);
        let mut data = sample();
        data["today"] = json!("2026-12-31");
        let words = templates.render("goal_deadline", &data).unwrap();
        assert!(words.text.contains("on Sunday, 14 March 2027."), "{}", words.text);
        assert!(words.html.contains("on Sunday, 14 March 2027."), "{}", words.html);
        data["on"] = json!(null);
        assert!(templates.render("goal_overdue", &data).unwrap().text.contains("due on a day that is not known"));
    }

    #[test]
    fn a_value_that_is_missing_is_an_error_and_not_a_gap() {
        let templates = Templates::new().unwrap();
        assert!(templates.render("goal_overdue", &json!({"reference": "X"})).is_err());
        assert!(templates.render("no_such_template", &sample()).is_err());
    }

    #[test]
    fn a_mail_says_of_the_partner_what_was_sent_to_them() {
        let said = |told: i64, reminded: i64| {
            let mut data = sample();
            (data["told"], data["reminded"]) = (json!(told), json!(reminded));
            Templates::new().unwrap().render("referral_silent", &data).unwrap().text
        };
        assert!(said(3, 2).contains("from the partner, who was reminded twice."), "{}", said(3, 2));
        assert!(said(2, 1).contains("reminded once."), "{}", said(2, 1));
        assert!(said(1, 0).contains("told of it by mail."), "{}", said(1, 0));
        assert!(said(0, 0).contains("no mail about it has reached the partner"), "{}", said(0, 0));
    }

    #[test]
    fn a_partner_without_an_account_is_not_asked_to_sign_in() {
        let mut data = sample();
        data["account"] = json!(false);
        for name in ["referral_requested", "referral_reminder", "something_waits"] {
            let words = Templates::new().unwrap().render(name, &data).unwrap();
            assert!(!words.text.contains("Sign in") && !words.html.contains("Sign in"), "{}", words.text);
            assert!(words.text.contains("has no account here yet"), "{}", words.text);
            assert!(words.text.contains("Riverbend") && words.html.contains("Riverbend"), "{}", words.text);
        }
    }

    #[test]
    fn markup_in_a_value_stays_text() {
        let mut data = sample();
        data["reference"] = json!("<script>x</script>");
        let words = Templates::new().unwrap().render("goal_overdue", &data).unwrap();
        assert!(!words.html.contains("<script>"));
    }
}
