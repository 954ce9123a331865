//! A row of pgoutput as a line of COPY text: exactly as the server's own COPY would write it,
//! so that rows of a backup and rows of its changes can be compared byte by byte.

use crate::postgres::copy_text;
use crate::postgres::pgoutput::Value;

/// Appends a row's values, but for those of the columns that `takes` refuses. A value that is
/// unchanged is written as NULL.
pub(super) fn write(row: &mut Vec<u8>, values: &[Value<'_>], takes: impl Fn(usize) -> bool) {
    let mut first = true;
    for (_, value) in values.iter().enumerate().filter(|(at, _)| takes(*at)) {
        if !std::mem::take(&mut first) {
            row.push(b'\t');
        }
        match value {
            Value::Null | Value::Unchanged => row.extend_from_slice(copy_text::NULL),
            Value::Text(text) => copy_text::escape(text, row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_as_copy_does() {
        let values = [
            Value::Text(b"a\tb\\c\nd"),
            Value::Null,
            Value::Unchanged,
            Value::Text(b""),
            Value::Text("h\u{e9}\u{b}\u{c}\u{8}\r".as_bytes()),
        ];
        let mut row = Vec::new();
        write(&mut row, &values, |_| true);
        assert_eq!(row, "a\\tb\\\\c\\nd\t\\N\t\\N\t\th\u{e9}\\v\\f\\b\\r".as_bytes());
        row.clear();
        write(&mut row, &values, |at| at == 1 || at == 3);
        assert_eq!(row, b"\\N\t");
    }
}
