//! What is asked, in which order, and how.

use postern_protocol::policy::Kind;

/// A part of the conversation: the four steps of administration, and the first device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Companies, and groups of machines.
    Groups,
    /// What can be given.
    Categories,
    /// Who gets what, under which conditions.
    Roles,
    /// Who they are.
    Users,
    /// The first device.
    Device,
}

impl Step {
    /// Its number and what it is about.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Groups => {
                "Step 1 of 5: groups. Machines belong to the company that runs them, and stand in groups."
            }
            Self::Categories => {
                "Step 2 of 5: access categories. Each is a kind of thing that can be reached, and is given by itself."
            }
            Self::Roles => {
                "Step 3 of 5: roles. They say who gets which categories, and under which conditions."
            }
            Self::Users => "Step 4 of 5: users. Each is a person; they get an invitation at the end.",
            Self::Device => {
                "Step 5 of 5: the first device: the router with the agent, and what is behind it."
            }
        }
    }
}

/// A way to reach a machine: a category, and a service of the first device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Its screen.
    Screen,
    /// Its web pages.
    Pages,
    /// Its live values.
    Live,
    /// Its network.
    Network,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Screen, Self::Pages, Self::Live, Self::Network];

    /// What is typed for it; also the name of the category.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Screen => "screen",
            Self::Pages => "pages",
            Self::Live => "live",
            Self::Network => "network",
        }
    }

    /// The name of the device's service, which people type to reach it.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::Screen => "hmi",
            Self::Pages => "web",
            Self::Live => "live",
            Self::Network => "plc",
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Screen => "Screens of machines",
            Self::Pages => "Web pages of machines",
            Self::Live => "Live values of machines",
            Self::Network => "Controllers, over a VPN",
        }
    }

    /// What it speaks.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Screen => Kind::Vnc,
            Self::Pages => Kind::Http,
            Self::Live => Kind::Websocket,
            Self::Network => Kind::Vpn,
        }
    }

    const fn address(self) -> &'static str {
        match self {
            Self::Screen => {
                "Where does the machine's screen (VNC) answer, as seen from the router? Such as 192.168.10.20:5900, or none."
            }
            Self::Pages => "Where do its web pages answer? Such as 192.168.10.20:80, or none.",
            Self::Live => "Where do its live values (WebSocket) answer? Such as 192.168.10.20:8080, or none.",
            Self::Network => {
                "Which controller is reached over the VPN? Its address and TCP port, such as 192.168.10.10:102, or none."
            }
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which company services machines.
    Provider,
    /// Which company runs the first one.
    Customer,
    /// How its group is called.
    Group,
    /// What can be reached.
    Ways,
    /// When service engineers are let in.
    Entry,
    /// What they get.
    EngineerWays,
    /// How old their second factor may be.
    SecondFactor,
    /// What operators get.
    OperatorWays,
    /// Whether operators go on without the cloud.
    Offline,
    /// Who service engineers are.
    Engineers,
    /// Who operators are.
    Operators,
    /// Who administrates the company that services machines.
    ProviderAdmin,
    /// Who administrates the company that runs them.
    CustomerAdmin,
    /// How the device is called.
    Device,
    /// Where something answers behind it.
    Address(Way),
}

impl Question {
    /// The part that it belongs to.
    #[must_use]
    pub const fn step(self) -> Step {
        match self {
            Self::Provider | Self::Customer | Self::Group => Step::Groups,
            Self::Ways => Step::Categories,
            Self::Entry | Self::EngineerWays | Self::SecondFactor | Self::OperatorWays | Self::Offline => {
                Step::Roles
            }
            Self::Engineers | Self::Operators | Self::ProviderAdmin | Self::CustomerAdmin => Step::Users,
            Self::Device | Self::Address(_) => Step::Device,
        }
    }

    /// The question.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Provider => {
                "Which company services machines: their maker, or a service firm? A short name, or none."
            }
            Self::Customer => "Which company runs the first machine? A short name.",
            Self::Group => "How shall the group be called that the first machine belongs to?",
            Self::Ways => "What is there to be reached? Any of: screen pages live network.",
            Self::Entry => "When may service engineers enter? One of: case approval always.",
            Self::EngineerWays => "What do service engineers get?",
            Self::SecondFactor => {
                "How old may their second factor (authenticator app) be at most? Such as 8h, or none."
            }
            Self::OperatorWays => "What do operators of the machine get?",
            Self::Offline => "May operators go on while the line to the cloud is down? yes or no.",
            Self::Engineers => "Who are the service engineers? Short names, with blanks between them.",
            Self::Operators => "Who operates the machine? Short names, with blanks between them.",
            Self::ProviderAdmin => "Who administrates users of the company that services machines?",
            Self::CustomerAdmin => "Who administrates users of the company that runs the machine?",
            Self::Device => "How shall the first device be called? This is what people type to reach it.",
            Self::Address(way) => way.address(),
        }
    }

    /// More about it.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Provider => {
                "Its people reach machines of its customers, as far as step 3 says. Names are lower-case letters, digits, `-`, \
                 `_` and `.`. Without such a company only those who run machines reach them."
            }
            Self::Customer => {
                "The company in whose hall the machine stands. Its people decide who enters: they open service cases and give \
                 approvals. It never sees machines of other companies."
            }
            Self::Group => {
                "Groups are where roles hold. Give it a name that still fits when more machines come."
            }
            Self::Ways => {
                "screen: what the panel shows, over VNC. pages: a web page, HTTP. live: values that a page draws, WebSocket; \
                 HTTP does not imply it. network: a VPN to a controller, for engineering tools."
            }
            Self::Entry => {
                "case: only while the company that runs the machine has a service case open for it. approval: each time somebody \
                 of that company says yes, for a time. always: at any time."
            }
            Self::EngineerWays | Self::OperatorWays => {
                "Any of those of step 2. What is not named here is closed to them."
            }
            Self::SecondFactor => {
                "Whoever proved it longer ago is asked for a code again before a tunnel opens. `none` leaves a stolen password \
                 with a stolen laptop as all that it takes."
            }
            Self::Offline => {
                "The device decides by itself either way. With `no` it lets nobody in whose rights nobody has confirmed for a \
                 quarter of an hour; with `yes` operators stay able to work for a week."
            }
            Self::Engineers | Self::Operators => {
                "One name for each person, such as `eva`. More can be added later, also by the companies' administrators."
            }
            Self::ProviderAdmin | Self::CustomerAdmin => {
                "They invite and remove their company's users. That is no access to any machine. It may be one of those above, \
                 or somebody else; a company with users always has one."
            }
            Self::Device => "One router with `postern-agent`, such as `press-7` or `line-2`.",
            Self::Address(_) => {
                "The address in the machine's network, not in yours. Only the device dials it, and only for those who may."
            }
        }
    }
}
