//! What a writer that was revoked had signed before: the body of a signed object, by the
//! owner. It names contents, not objects, so that nothing new passes under an old name.

use crate::FormatError;
use crate::cbor;
use crate::id::{ObjectDigest, VerifyKey};
use crate::limits;
use minicbor::{Decode, Encode};

/// The owner's word for objects of one former writer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Voucher {
    /// The public key that signed them.
    #[n(1)]
    pub writer: VerifyKey,
    /// Their digests, ascending, none twice.
    #[n(2)]
    pub digests: Vec<ObjectDigest>,
}

impl Voucher {
    /// Reads and checks the body of a voucher.
    ///
    /// # Errors
    /// [`FormatError`] when it breaks a rule.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let voucher: Self = cbor::decode("voucher", body)?;
        if voucher.digests.len() > limits::VOUCHER_DIGESTS_MAX {
            return Err(FormatError::invalid("voucher", "too many digests"));
        }
        if !voucher.digests.is_sorted_by(|one, next| one < next) {
            return Err(FormatError::invalid("voucher", "digests are not in ascending order"));
        }
        Ok(voucher)
    }
}
