//! Synthetic user behaviour: sessions of users on clients, with the skew of real traffic.

use serde::Serialize;

/// Clients by rank; their share of sessions follows Zipf's law with exponent 1.
const CLIENTS: [&str; 24] = [
    "iphone",
    "android",
    "web",
    "ipad",
    "android_tablet",
    "mobile_web",
    "mac",
    "tweetdeck",
    "windows",
    "embed",
    "tv_android",
    "tv_apple",
    "car",
    "watch",
    "kindle",
    "api_partner",
    "lite",
    "bot_official",
    "console_x",
    "console_p",
    "fridge",
    "vr",
    "kiosk",
    "feature_phone",
];
const ACTIONS: [&str; 8] = [
    "impression",
    "scroll",
    "open",
    "like",
    "profile_click",
    "reply",
    "share",
    "follow",
];
const PAGES: [&str; 7] = [
    "home",
    "search",
    "profile",
    "notifications",
    "explore",
    "spaces",
    "settings",
];
const COUNTRIES: [&str; 12] = [
    "US", "JP", "IN", "BR", "GB", "ID", "TR", "MX", "DE", "FR", "NG", "CL",
];

/// One event of user behaviour, 300 to 400 bytes as JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserBehaviorEvent {
    /// Counts the generator's events from 0.
    pub number: u64,
    /// What happened.
    pub event: Behavior,
    /// Whose session it is.
    pub user_id: u64,
    /// The session, as text.
    pub session_id: String,
    /// Where the user is.
    pub country: &'static str,
    /// Made-up addresses of what was looked at.
    pub referrer: String,
}

/// What happened in one event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// The client's name.
    pub client_name: &'static str,
    /// The client's version.
    pub client_version: String,
    /// What the user did.
    pub action: &'static str,
    /// On which page.
    pub page: &'static str,
    /// Its place on the page.
    pub position: u32,
    /// How long it was seen, in ms.
    pub duration_ms: u32,
}

struct Session {
    user_id: u64,
    id: String,
    client: usize,
    version: String,
    country: &'static str,
    events_left: u32,
}

/// Makes events, the same for the same seed.
pub struct Generator {
    random: SplitMix64,
    client_shares: Vec<f64>,
    sessions: Vec<Session>,
    number: u64,
}

impl Generator {
    /// A generator with `sessions` sessions open at a time (at least one).
    pub fn new(seed: u64, sessions: usize) -> Self {
        let mut total = 0.0;
        let client_shares = (1..=CLIENTS.len())
            .map(|rank| {
                total += 1.0 / rank as f64;
                total
            })
            .collect();
        let mut generator = Self {
            random: SplitMix64(seed),
            client_shares,
            sessions: Vec::new(),
            number: 0,
        };
        for _ in 0..sessions.max(1) {
            let session = generator.open_session();
            generator.sessions.push(session);
        }
        generator
    }

    fn open_session(&mut self) -> Session {
        let all = self.client_shares.last().copied().unwrap_or(1.0);
        let at = self.random.unit() * all;
        let client = self
            .client_shares
            .partition_point(|share| *share <= at)
            .min(CLIENTS.len() - 1);
        // Few users are here often: the square of a uniform number leans to the low ids.
        let lean = self.random.unit();
        Session {
            user_id: (lean * lean * 5_000_000.0) as u64,
            id: format!("{:016x}{:016x}", self.random.next(), self.random.next()),
            client,
            version: format!(
                "{}.{}.{}",
                8 + self.random.below(3),
                self.random.below(30),
                self.random.below(9)
            ),
            country: COUNTRIES[self.random.below(COUNTRIES.len() as u64) as usize],
            events_left: 1 + self.random.below(60) as u32,
        }
    }

    /// The next event.
    pub fn event(&mut self) -> UserBehaviorEvent {
        let index = self.random.below(self.sessions.len() as u64) as usize;
        if self.sessions[index].events_left == 0 {
            self.sessions[index] = self.open_session();
        }
        let lean = self.random.unit() * self.random.unit();
        let action = ACTIONS[(lean * ACTIONS.len() as f64) as usize];
        let page = PAGES[self.random.below(PAGES.len() as u64) as usize];
        let (position, duration_ms) = (self.random.below(40) as u32, self.random.below(20_000) as u32);
        let item = self.random.below(1 << 40);
        let session = &mut self.sessions[index];
        session.events_left -= 1;
        let number = self.number;
        self.number += 1;
        UserBehaviorEvent {
            number,
            event: Behavior {
                client_name: CLIENTS[session.client],
                client_version: session.version.clone(),
                action,
                page,
                position,
                duration_ms,
            },
            user_id: session.user_id,
            session_id: session.id.clone(),
            country: session.country,
            referrer: format!("https://example.com/{page}/{item:x}?from={}", session.country),
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough for synthetic traffic.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_skewed_sized_and_repeatable() {
        let mut generator = Generator::new(7, 100);
        let events: Vec<_> = (0..10_000).map(|_| generator.event()).collect();
        let count = |client: &str| events.iter().filter(|e| e.event.client_name == client).count();
        assert!(count("iphone") > count("web") && count("web") > count("watch"));
        let sizes: Vec<usize> = events
            .iter()
            .map(|e| serde_json::to_vec(e).unwrap().len())
            .collect();
        assert!(
            sizes.iter().all(|bytes| (250..450).contains(bytes)),
            "{:?}",
            sizes.iter().max()
        );
        let mut again = Generator::new(7, 100);
        assert!(
            events
                .iter()
                .all(|e| serde_json::to_vec(e).unwrap() == serde_json::to_vec(&again.event()).unwrap())
        );
    }
}
