//! The moment that `--to-time` and its like name, and the backup and changes that lead to it.

use crate::args::MomentArgs;
use pgkeep_engine::Result;
use pgkeep_engine::fold::{self, Moment, Named, Recovery, Target, Wanted};
use pgkeep_engine::repository::{Backup, Repository};
use std::sync::Arc;

/// Finds what leads to the moment that the arguments name; absent where they name none.
///
/// # Errors
/// As [`fold::recover`]; as finding the backup, where one is named.
pub(super) async fn recovery(
    repository: &Repository,
    args: &MomentArgs,
    backup: Option<&str>,
    database: Option<&str>,
) -> Result<Option<(Backup, Arc<Recovery>)>> {
    let Some(target) = target(args) else { return Ok(None) };
    let backup = match backup {
        Some(wanted) => Some(repository.find(wanted).await?),
        None => None,
    };
    let memory = usize::try_from(args.memory).unwrap_or(usize::MAX);
    let named = Named { database: database.map(str::to_owned), stream: args.stream.clone() };
    let wanted = Wanted { backup, named, target, memory };
    let (backup, recovery) = fold::recover(repository, &wanted).await?;
    Ok(Some((backup, Arc::new(recovery))))
}

fn target(args: &MomentArgs) -> Option<Target> {
    let moment = match args {
        MomentArgs { to_time: Some(time), .. } => Moment::Time(*time),
        MomentArgs { to_lsn: Some(lsn), .. } => Moment::Lsn(*lsn),
        MomentArgs { to_xid: Some(xid), .. } => Moment::Xid(*xid),
        MomentArgs { to_name: Some(name), .. } => Moment::Mark(name.clone()),
        MomentArgs { to_latest: true, .. } => Moment::Latest,
        _ => return None,
    };
    Some(Target { moment, exclusive: args.exclusive })
}
