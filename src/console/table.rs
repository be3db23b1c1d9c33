//! A table for people: columns as wide as their widest cell.

use super::printable;

/// Writes rows under a header. Cells are made printable; the last column is not filled up.
pub fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned))
        .chain(rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))))
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let line: Vec<String> = cells.collect();
            line.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Names and values under each other; a value of several lines is indented below its name.
pub fn list(rows: &[(&str, String)]) -> String {
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut lines = Vec::new();
    for (name, value) in rows {
        let mut parts = value.trim_end_matches('\n').split('\n');
        let first = printable(parts.next().unwrap_or_default());
        lines.push(format!("{name:width$}  {first}").trim_end().to_owned());
        lines.extend(parts.map(|part| {
            format!("{:width$}  {}", "", printable(part))
                .trim_end()
                .to_owned()
        }));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["lamp-1".to_owned(), "cli".to_owned()],
            ["ö".to_owned(), "a\tb".to_owned()],
        ];
        assert_eq!(
            table(["NAME", "TYPE"], &rows),
            "NAME    TYPE\nlamp-1  cli\nö       a\u{fffd}b"
        );
        assert_eq!(table(["NAME"], &[]), "NAME");
    }

    #[test]
    fn values_of_several_lines_stand_below_each_other() {
        let rows = [
            ("process", "1f".to_owned()),
            ("out", "output = a\nb\n".to_owned()),
            ("error", String::new()),
        ];
        assert_eq!(list(&rows), "process  1f\nout      output = a\n         b\nerror");
    }
}
