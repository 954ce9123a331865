//! Arrays as `array_out` writes them.

use super::form::Form;
use super::{append, invalid};
use pgkeep_format::FormatError;

/// `MAXDIM`.
const DIMENSIONS_MAX: usize = 6;

/// Dimensions, whether there are NULLs, the OID of the elements, then size and lower bound of each
/// dimension, then the elements with their lengths.
pub(super) fn text(value: &[u8], element: u32, text: &mut Vec<u8>) -> Result<(), FormatError> {
    let mut elements = Elements { rest: value };
    let (dimensions, _, oid) = (elements.number()?, elements.number()?, elements.number()?);
    let form = Form::of(element).filter(|_| oid == element);
    let form = form.ok_or_else(|| invalid("an array has elements of another type"))?;
    let dimensions = usize::try_from(dimensions).ok().filter(|count| *count <= DIMENSIONS_MAX);
    let dimensions = dimensions.ok_or_else(|| invalid("an array has too many dimensions"))?;
    let mut sizes = Vec::with_capacity(dimensions);
    let mut bounds = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        sizes.push(elements.number()?);
        bounds.push(elements.number()?.cast_signed());
    }
    if sizes.contains(&0) || sizes.is_empty() {
        text.extend_from_slice(b"{}");
        return elements.end();
    }
    if bounds.iter().any(|bound| *bound != 1) {
        for (size, bound) in sizes.iter().zip(&bounds) {
            let last = i64::from(*bound) + i64::from(*size) - 1;
            append(text, format_args!("[{bound}:{last}]"));
        }
        text.push(b'=');
    }
    dimension(&sizes, form, &mut elements, text)?;
    elements.end()
}

fn dimension(
    sizes: &[u32],
    form: Form,
    elements: &mut Elements<'_>,
    text: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let Some((size, inner)) = sizes.split_first() else { return element(form, elements, text) };
    text.push(b'{');
    for at in 0..*size {
        if at > 0 {
            text.push(b',');
        }
        dimension(inner, form, elements, text)?;
    }
    text.push(b'}');
    Ok(())
}

fn element(form: Form, elements: &mut Elements<'_>, text: &mut Vec<u8>) -> Result<(), FormatError> {
    let len = elements.number()?;
    if len == u32::MAX {
        text.extend_from_slice(b"NULL");
        return Ok(());
    }
    let value = elements.take(usize::try_from(len).unwrap_or(usize::MAX))?;
    if form.len().is_some_and(|fixed| fixed != value.len()) {
        return Err(invalid("an element has another length than its type"));
    }
    let start = text.len();
    form.text(value, text)?;
    if needs_quotes(&text[start..]) {
        let bare = text.split_off(start);
        text.push(b'"');
        for byte in bare {
            if matches!(byte, b'"' | b'\\') {
                text.push(b'\\');
            }
            text.push(byte);
        }
        text.push(b'"');
    }
    Ok(())
}

fn needs_quotes(element: &[u8]) -> bool {
    element.is_empty()
        || element.eq_ignore_ascii_case(b"NULL")
        || element
            .iter()
            .any(|byte| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | 9..=13))
}

struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let taken = self.rest.split_at_checked(len);
        let (taken, rest) = taken.ok_or_else(|| invalid("an array ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, FormatError> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn end(&self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(invalid("bytes follow an array")) }
    }
}
