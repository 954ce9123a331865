//! Fields of a line of COPY text, as bytes that are compared and moved but never understood.

/// Lines of COPY text, each without its newline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines<'a> {
    text: &'a [u8],
    /// Where each begins and ends.
    bounds: &'a [(usize, usize)],
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8], bounds: &'a [(usize, usize)]) -> Self {
        Self { text, bounds }
    }

    pub(super) fn len(&self) -> usize {
        self.bounds.len()
    }

    pub(super) fn line(&self, at: usize) -> &'a [u8] {
        let (start, end) = self.bounds[at];
        &self.text[start..end]
    }

    pub(super) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).map(move |at| self.line(at))
    }
}

/// The first fields of a line without its newline, at most so many: where each begins and ends.
pub(super) fn fields(line: &[u8], most: usize, found: &mut Vec<(usize, usize)>) {
    found.clear();
    let mut start = 0;
    // A tab or newline within a value is escaped.
    for at in memchr::memchr_iter(b'\t', line).take(most) {
        found.push((start, at));
        start = at + 1;
    }
    if found.len() < most {
        found.push((start, line.len()));
    }
}

/// Appends the fields at `positions`, tabs between them; false when one is not there.
pub(super) fn pick(
    line: &[u8],
    fields: &[(usize, usize)],
    positions: &[usize],
    picked: &mut Vec<u8>,
) -> bool {
    for (number, position) in positions.iter().enumerate() {
        let Some((start, end)) = fields.get(*position) else { return false };
        if number > 0 {
            picked.push(b'\t');
        }
        picked.extend_from_slice(&line[*start..*end]);
    }
    true
}

/// The line with the fields at `positions` (ascending) taken from another line of the same
/// columns; absent when either has other columns.
pub(super) fn merge(line: &[u8], positions: &[u16], from: &[u8]) -> Option<Vec<u8>> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    fields(line, usize::MAX, &mut own);
    fields(from, usize::MAX, &mut others);
    if own.len() != others.len() {
        return None;
    }
    let mut merged = Vec::with_capacity(line.len() + from.len());
    for (number, (start, end)) in own.iter().enumerate() {
        if number > 0 {
            merged.push(b'\t');
        }
        let taken = positions.iter().any(|position| usize::from(*position) == number);
        let (start, end, source) = match taken {
            true => (others[number].0, others[number].1, from),
            false => (*start, *end, line),
        };
        merged.extend_from_slice(&source[start..end]);
    }
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_picked_and_merged_as_they_stand() {
        let line = b"1\t\\N\ta\\tb\t";
        let mut found = Vec::new();
        fields(line, 2, &mut found);
        assert_eq!(found, [(0, 1), (2, 4)]);
        fields(line, 9, &mut found);
        assert_eq!(found.len(), 4);
        let mut key = Vec::new();
        assert!(pick(line, &found, &[2, 0], &mut key));
        assert_eq!(key, b"a\\tb\t1");
        assert!(!pick(line, &found, &[4], &mut key));
        assert_eq!(merge(line, &[1, 3], b"9\tx\ty\tz").unwrap(), b"1\tx\ta\\tb\tz");
        assert!(merge(line, &[1], b"9\tx").is_none());
    }
}
