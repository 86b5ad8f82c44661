//! Part of a device: nothing, some machines behind it, or all of it.

use postern_protocol::name::Name;

/// Part of a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach<'a> {
    /// Nothing.
    Nothing,
    /// The services of these machines, ascending; never an empty list.
    Machines(Vec<&'a Name>),
    /// Every service of the device and of the machines behind it.
    Whole,
}

impl<'a> Reach<'a> {
    /// All or nothing.
    pub(super) const fn whole(inside: bool) -> Self {
        if inside { Self::Whole } else { Self::Nothing }
    }

    /// Some machines, ascending.
    pub(super) fn machines(machines: Vec<&'a Name>) -> Self {
        if machines.is_empty() { Self::Nothing } else { Self::Machines(machines) }
    }

    /// What lies in both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::Whole, reach) | (reach, Self::Whole) => reach,
            (Self::Machines(mut a), Self::Machines(b)) => {
                a.retain(|machine| b.binary_search(machine).is_ok());
                Self::machines(a)
            }
        }
    }

    /// Whether the services of `machine`, or of the device itself for none, are reached.
    pub(crate) fn contains(&self, machine: Option<&Name>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Machines(machines) => {
                machine.is_some_and(|machine| machines.binary_search(&machine).is_ok())
            }
            Self::Whole => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersections_narrow_and_never_widen() {
        let names: Vec<Name> = ["m1", "m2", "m3"].iter().map(|name| name.parse().unwrap()).collect();
        let machines = |range: std::ops::Range<usize>| Reach::machines(names[range].iter().collect());
        assert_eq!(Reach::Whole.and(machines(0..1)), machines(0..1));
        assert_eq!(machines(0..2).and(machines(1..3)), machines(1..2));
        assert_eq!(machines(0..1).and(machines(1..2)), Reach::Nothing);
        assert_eq!(Reach::Nothing.and(Reach::Whole), Reach::Nothing);
    }

    #[test]
    fn a_machine_is_not_the_router_and_not_its_neighbour() {
        let (m1, m2): (Name, Name) = ("m1".parse().unwrap(), "m2".parse().unwrap());
        let reach = Reach::machines(vec![&m1]);
        assert!(reach.contains(Some(&m1)));
        assert!(!reach.contains(Some(&m2)) && !reach.contains(None));
        assert!(Reach::Whole.contains(None) && Reach::Whole.contains(Some(&m2)));
        assert!(!Reach::Nothing.contains(None));
    }
}
