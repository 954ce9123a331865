//! Fields by their places in the rows: what a column is made of while it is laid out.

/// Bytes of the length of a field in a row, and of most lengths in columns.
pub(super) const LEN_LEN: usize = 4;
/// The length of NULL.
pub(super) const NULL: u32 = u32::MAX;

/// Where the value of a field is.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) start: u32,
    /// [`NULL`] for NULL.
    pub(super) len: u32,
}

impl Field {
    pub(super) fn value(self, rows: &[u8]) -> Option<&[u8]> {
        let start = self.start as usize;
        (self.len != NULL).then(|| &rows[start..start + self.len as usize])
    }
}

/// Finds the fields of each column; absent where the bytes are not whole rows of so many fields.
pub(super) fn find(rows: &[u8], columns: usize, fields: &mut Vec<Vec<Field>>) -> Option<()> {
    let count = u16::try_from(columns).ok()?.to_be_bytes();
    fields.iter_mut().for_each(Vec::clear);
    fields.resize_with(columns, Vec::new);
    let mut at = 0;
    while at < rows.len() {
        if *rows.get(at..)?.first_chunk()? != count {
            return None;
        }
        at += count.len();
        for column in &mut *fields {
            let field = field(rows, at)?;
            at = end(rows, field)?;
            column.push(field);
        }
    }
    Some(())
}

#[inline]
fn field(rows: &[u8], at: usize) -> Option<Field> {
    let len = u32::from_be_bytes(*rows.get(at..)?.first_chunk()?);
    Some(Field { start: u32::try_from(at + LEN_LEN).ok()?, len })
}

/// Where a field ends, if that is within the rows.
#[inline]
fn end(rows: &[u8], field: Field) -> Option<usize> {
    let len = if field.len == NULL { 0 } else { field.len as usize };
    (field.start as usize).checked_add(len).filter(|end| *end <= rows.len())
}

/// What is known of the values of a column.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub(super) narrowest: u32,
    pub(super) widest: u32,
    pub(super) values: usize,
    pub(super) bytes: usize,
}

impl Widths {
    pub(super) fn of(fields: &[Field]) -> Self {
        let mut widths = Self { narrowest: NULL, widest: 0, values: 0, bytes: 0 };
        for field in fields.iter().filter(|field| field.len != NULL) {
            widths.narrowest = widths.narrowest.min(field.len);
            widths.widest = widths.widest.max(field.len);
            widths.values += 1;
            widths.bytes += field.len as usize;
        }
        widths
    }
}
