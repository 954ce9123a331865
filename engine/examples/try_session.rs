//! scratch
use pgkeep_engine::postgres::*;
#[tokio::main]
async fn main() {
    let arg = std::env::args().nth(1);
    let s = match Settings::from_process(&Asked { database: arg, ..Default::default() }) {
        Ok(s) => s,
        Err(e) => {
            println!("{e:?}");
            return;
        }
    };
    match Session::connect(&s, "try").await {
        Ok(mut s) => {
            println!("{} {} {}", s.version(), s.backend(), s.settings());
            let rows = s.query("select application_name a, (select ssl::text from pg_stat_ssl where pid=pg_backend_pid()) ssl from pg_stat_activity where pid=pg_backend_pid()").await.unwrap();
            println!("{:?} {:?}", rows[0].text("a"), rows[0].text("ssl"));
            println!("{:?}", s.execute("select nonsense").await);
            println!(
                "{:?}",
                s.execute("do $$ begin raise warning 'uh'; perform 1/0; end $$").await
            );
            s.close().await;
            s.close().await;
            println!("{:?}", s.execute("select 1").await);
        }
        Err(e) => println!("{e:?}"),
    }
}
