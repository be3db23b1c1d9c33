//! The arguments of a program, with places for those of the process: `{1}`, `{2}`, …, `{args}`.
//!
//! Each element of the list gives exactly one argument, whatever a process puts into it; only `{args}`, which
//! must be an element of its own, gives as many as are left. Nothing is split, quoted or expanded, since no
//! shell is involved. `{{` and `}}` are braces.
//!
//! An argument of a process that begins with `-` could be taken for an option by the program. So it is refused
//! where it would stand at the beginning of an element, unless a literal `--` stands before it in the list or
//! the owner allowed it (`options = true`).

use std::fmt;

/// The highest place; more arguments than anybody writes down one by one.
const PLACES: usize = 64;

/// A list of arguments with places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    elements: Vec<Element>,
    /// The highest place used; so many arguments a process must give at least.
    needed: usize,
    rest: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Element {
    One(Vec<Part>),
    Rest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Counted from zero.
    Place(usize),
}

/// Why a list of arguments can't be used; a defect of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace that opens or closes nothing.
    #[error(
        "args: {element:?} has a lone brace; write {{{{ or }}}} for a brace, {{1}} or {{args}} for arguments"
    )]
    Brace {
        /// The element.
        element: String,
    },
    /// Something else than a number or `args` between braces.
    #[error(
        "args: {element:?} has the unknown place {{{place}}}; there are {{1}} to {{{PLACES}}} and {{args}}"
    )]
    Place {
        /// The element.
        element: String,
        /// What stands between the braces.
        place: String,
    },
    /// `{args}` beside other text.
    #[error("args: {element:?}: {{args}} stands for several arguments and must be an element of its own")]
    RestWithin {
        /// The element.
        element: String,
    },
    /// `{args}` twice.
    #[error("args: {{args}} may be there only once")]
    RestTwice,
    /// A place that nothing uses below one that is used.
    #[error(
        "args: {{{place}}} is missing though {{{highest}}} is there: an argument would be dropped in silence"
    )]
    Gap {
        /// The missing place.
        place: usize,
        /// The highest place.
        highest: usize,
    },
    /// No argument of a program may hold it.
    #[error("args: an element has a NUL byte, which no argument can hold")]
    Nul,
}

/// Why a process's arguments can't be used; nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Not enough.
    #[error("needs {} {needed} argument(s), got {given}", if *or_more { "at least" } else { "exactly" })]
    TooFew {
        /// How many it takes.
        needed: usize,
        /// Whether it takes more.
        or_more: bool,
        /// How many there are.
        given: usize,
    },
    /// Too many.
    #[error("takes {needed} argument(s), {extra:?} is too much")]
    TooMany {
        /// How many it takes.
        needed: usize,
        /// The first that is too much.
        extra: String,
    },
    /// It could be taken for an option.
    #[error(
        "argument {place} is {text:?}, which could be taken for an option; \
         the owner can put \"--\" before it in args, or set options = true"
    )]
    Option {
        /// Which one, counted from one.
        place: usize,
        /// The argument.
        text: String,
    },
    /// No argument of a program may hold it.
    #[error("argument {place} has a NUL byte, which no program can be given")]
    Nul {
        /// Which one, counted from one.
        place: usize,
    },
}

impl Template {
    /// Reads a list as it is written in the configuration.
    ///
    /// # Errors
    /// Every [`TemplateError`].
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, TemplateError> {
        let mut template = Template::default();
        let mut used = [false; PLACES];
        for text in list {
            let element = parse_element(text.as_ref())?;
            match &element {
                Element::Rest if template.rest => return Err(TemplateError::RestTwice),
                Element::Rest => template.rest = true,
                Element::One(parts) => {
                    for part in parts {
                        if let Part::Place(index) = part {
                            used[*index] = true;
                            template.needed = template.needed.max(index + 1);
                        }
                    }
                }
            }
            template.elements.push(element);
        }
        if let Some(gap) = used[..template.needed].iter().position(|used| !used) {
            return Err(TemplateError::Gap {
                place: gap + 1,
                highest: template.needed,
            });
        }
        Ok(template)
    }

    /// The arguments as a usage line shows them: `<1> <2> [args…]`.
    pub fn usage(&self) -> String {
        let mut words: Vec<String> = (1..=self.needed).map(|place| format!("<{place}>")).collect();
        if self.rest {
            words.push("[args…]".to_owned());
        }
        words.join(" ")
    }

    /// The program's arguments for those of a process. `options`: they may look like options anywhere.
    ///
    /// # Errors
    /// Every [`ArgumentError`].
    pub fn fill(&self, given: &[String], options: bool) -> Result<Vec<String>, ArgumentError> {
        if given.len() < self.needed {
            return Err(ArgumentError::TooFew {
                needed: self.needed,
                or_more: self.rest,
                given: given.len(),
            });
        }
        if let (false, Some(extra)) = (self.rest, given.get(self.needed)) {
            return Err(ArgumentError::TooMany {
                needed: self.needed,
                extra: extra.clone(),
            });
        }
        if let Some(index) = given.iter().position(|text| text.contains('\0')) {
            return Err(ArgumentError::Nul { place: index + 1 });
        }
        let mut filled = Vec::with_capacity(self.elements.len() + given.len());
        let mut safe = options;
        let check = |index: usize, safe: bool| match given[index].starts_with('-') && !safe {
            true => Err(ArgumentError::Option {
                place: index + 1,
                text: given[index].clone(),
            }),
            false => Ok(()),
        };
        for element in &self.elements {
            match element {
                Element::Rest => {
                    for (index, text) in given.iter().enumerate().skip(self.needed) {
                        check(index, safe)?;
                        filled.push(text.clone());
                    }
                }
                Element::One(parts) => {
                    let mut text = String::new();
                    for part in parts {
                        match part {
                            Part::Text(literal) => text.push_str(literal),
                            Part::Place(index) => {
                                // Also `{1}{2}` with an empty first one.
                                if text.is_empty() {
                                    check(*index, safe)?;
                                }
                                text.push_str(&given[*index]);
                            }
                        }
                    }
                    safe |= matches!(&parts[..], [Part::Text(literal)] if literal == "--");
                    filled.push(text);
                }
            }
        }
        Ok(filled)
    }
}

fn parse_element(text: &str) -> Result<Element, TemplateError> {
    let lone = || TemplateError::Brace {
        element: text.to_owned(),
    };
    if text.contains('\0') {
        return Err(TemplateError::Nul);
    }
    if text == "{args}" {
        return Ok(Element::Rest);
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err(lone());
        }
        let (place, after) = rest.split_once('}').ok_or_else(lone)?;
        if place == "args" {
            return Err(TemplateError::RestWithin {
                element: text.to_owned(),
            });
        }
        let digits = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
        let index = match place.parse::<usize>() {
            Ok(number @ 1..=PLACES) if digits && !place.starts_with('0') => number - 1,
            _ => {
                return Err(TemplateError::Place {
                    element: text.to_owned(),
                    place: place.to_owned(),
                });
            }
        };
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        parts.push(Part::Place(index));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(Element::One(parts))
}

impl fmt::Display for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.usage())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(list: &[&str]) -> Template {
        Template::parse(list).unwrap()
    }

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    fn fill(list: &[&str], given: &[&str]) -> Result<Vec<String>, String> {
        template(list)
            .fill(&owned(given), false)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn places_are_filled_and_the_rest_follows() {
        assert_eq!(
            fill(
                &["-v", "to={1}", "{{1}}", "{2}", "{args}", "end"],
                &["a b", "", "c", "$(d)"]
            )
            .unwrap(),
            ["-v", "to=a b", "{1}", "", "c", "$(d)", "end"]
        );
        assert_eq!(fill(&[], &[]).unwrap(), Vec::<String>::new());
        assert_eq!(fill(&[""], &[]).unwrap(), [""]);
        assert_eq!(fill(&["{args}"], &[]).unwrap(), Vec::<String>::new());
        assert_eq!(fill(&["{1}{1}-{2}"], &["x", "y"]).unwrap(), ["xx-y"]);
        assert_eq!(template(&["{2}", "{1}", "{args}"]).usage(), "<1> <2> [args…]");
    }

    #[test]
    fn a_wrong_number_of_arguments_is_named() {
        assert_eq!(
            fill(&["{1}"], &[]).unwrap_err(),
            "needs exactly 1 argument(s), got 0"
        );
        assert_eq!(
            fill(&["{2}{1}", "{args}"], &["a"]).unwrap_err(),
            "needs at least 2 argument(s), got 1"
        );
        assert_eq!(
            fill(&[], &["a"]).unwrap_err(),
            "takes 0 argument(s), \"a\" is too much"
        );
        assert_eq!(
            fill(&["{1}"], &["a\0b"]).unwrap_err(),
            "argument 1 has a NUL byte, which no program can be given"
        );
    }

    #[test]
    fn what_looks_like_an_option_needs_leave() {
        for (list, given) in [
            (&["{1}"][..], &["-rf"][..]),
            (&["{args}"], &["a", "-"]),
            (&["{1}{2}"], &["", "-x"]),
            (&["{1}", "--"], &["-x"]),
            (&["---", "{1}"], &["-x"]),
        ] {
            let error = fill(list, given).unwrap_err();
            assert!(error.contains("taken for an option"), "{list:?} {error}");
            assert!(template(list).fill(&owned(given), true).is_ok());
        }
        for (list, given) in [
            (&["--", "{1}"][..], &["-rf"][..]),
            (&["--", "x", "{args}"], &["a", "--help"]),
            (&["by={1}"], &["-5"]),
            (&["{1}{2}"], &["a", "-5"]),
        ] {
            assert!(fill(list, given).is_ok(), "{list:?}");
        }
        // A process can't bring its own `--`.
        assert!(fill(&["{1}", "{2}"], &["--", "-x"]).is_err());
    }

    #[test]
    fn defects_of_the_list_are_named() {
        for (list, part) in [
            (&["{"][..], "lone brace"),
            (&["}"], "lone brace"),
            (&["{1"], "lone brace"),
            (&["{0}"], "unknown place {0}"),
            (&["{01}"], "unknown place {01}"),
            (&["{+1}"], "unknown place {+1}"),
            (&["{65}"], "unknown place {65}"),
            (&["{}"], "unknown place {}"),
            (&["{name}"], "unknown place {name}"),
            (&["x{args}"], "element of its own"),
            (&["{args}", "{args}"], "only once"),
            (&["{1}", "{3}"], "{2} is missing though {3}"),
            (&["a\0"], "NUL"),
        ] {
            let error = Template::parse(list).expect_err(part).to_string();
            assert!(error.contains(part), "{list:?}: {error}");
        }
        let all: Vec<String> = (1..=PLACES).map(|place| format!("{{{place}}}")).collect();
        assert!(Template::parse(&all).is_ok(), "the limit itself is allowed");
    }

    proptest! {
        #[test]
        fn no_text_panics(list in proptest::collection::vec(".{0,20}", 0..6)) {
            let _ = Template::parse(&list);
        }

        #[test]
        fn each_argument_stays_one(first in "[^\\x00]{0,20}", rest in proptest::collection::vec("[^\\x00]{0,20}", 0..5)) {
            let mut given = vec![first.clone()];
            given.extend(rest.iter().cloned());
            let filled = template(&["run", "--", "{1}", "<{1}>", "{args}"]).fill(&given, false).unwrap();
            prop_assert_eq!(filled.len(), 4 + rest.len());
            prop_assert_eq!(&filled[2], &first);
            prop_assert_eq!(&filled[3], &format!("<{first}>"));
            prop_assert_eq!(&filled[4..], &rest[..]);
        }

        #[test]
        fn before_a_double_dash_no_argument_is_an_option(given in proptest::collection::vec("[-a]{0,3}", 2..5)) {
            if let Ok(filled) = template(&["{1}{2}", "{args}"]).fill(&given, false) {
                prop_assert!(filled.iter().all(|text| !text.starts_with('-')), "{:?}", filled);
            }
        }

        #[test]
        fn doubled_braces_are_read_back(text in "[a{}]{0,12}") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(template(&[&doubled]).fill(&[], false).unwrap(), vec![text]);
        }
    }
}
