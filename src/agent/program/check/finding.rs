//! What was found, and how bad it is.

use std::fmt::Write as _;

use crate::console::printable;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Works, and may yet surprise.
    Warning,
    /// Does not work.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, in a word or two.
    pub about: String,
    /// What was found.
    pub text: String,
    /// What to do, where the text does not say it.
    pub remedy: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(about: impl Into<String>, text: impl Into<String>) -> Self {
        Finding {
            level: Level::Ok,
            about: about.into(),
            text: text.into(),
            remedy: None,
        }
    }

    /// Worth knowing.
    pub fn note(about: impl Into<String>, text: impl Into<String>) -> Self {
        Finding {
            level: Level::Note,
            ..Finding::ok(about, text)
        }
    }

    /// Works, and may yet surprise.
    pub fn warning(about: impl Into<String>, text: impl Into<String>) -> Self {
        Finding {
            level: Level::Warning,
            ..Finding::ok(about, text)
        }
    }

    /// Does not work.
    pub fn error(about: impl Into<String>, text: impl Into<String>) -> Self {
        Finding {
            level: Level::Error,
            ..Finding::ok(about, text)
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The findings as people read them: level, what, text; the remedy below, after an arrow.
pub fn listing(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.about.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let (level, about) = (finding.level.word(), printable(&finding.about));
        let _ = writeln!(text, "{level:7}  {about:width$}  {}", printable(&finding.text));
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "{:7}  {:width$}  -> {}", "", "", printable(remedy));
        }
    }
    text
}

/// The last line: how many errors and warnings there are.
pub fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    match (count(Level::Error), count(Level::Warning)) {
        (0, 0) => "no problem found".to_owned(),
        (errors, warnings) => format!("{errors} error(s), {warnings} warning(s)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_in_columns_with_their_remedies_below() {
        let findings = [
            Finding::ok("key", "fine"),
            Finding::error("server", "nobody\nthere").remedy("start it"),
            Finding::warning("gpio", "odd"),
        ];
        assert_eq!(
            listing(&findings),
            "ok       key     fine\n\
             error    server  nobody\u{fffd}there\n\
             \u{20}                -> start it\n\
             warning  gpio    odd\n"
        );
        assert_eq!(summary(&findings), "1 error(s), 1 warning(s)");
        assert_eq!(summary(&findings[..1]), "no problem found");
    }
}
