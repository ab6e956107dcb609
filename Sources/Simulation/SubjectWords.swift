// The vocabulary of the simulated catalog. Words of a subject belong together in English too, so that a
// language model finds the subjects as well as a bag of words does.

/// A subject with its words; an item is about one or two of them, a query about one.
struct Subject {
    let name: String
    let words: [String]

    init(_ name: String, _ words: String) {
        self.name = name
        self.words = words.split(separator: " ").map(String.init)
        precondition(self.words.count == Self.wordCount, "\(name) has \(self.words.count) words")
    }

    static let wordCount = 16

    static let all = [
        Subject(
            "coffee",
            "espresso grinder beans roast filter brew crema barista kettle mug latte arabica milk drip aroma caffeine"
        ),
        Subject(
            "garden",
            "seeds soil compost pruning roses tomato greenhouse lawn watering mulch planter herbs weeds trowel hedge bulbs"
        ),
        Subject(
            "running",
            "marathon sneakers pace trail stride jogging hydration sprint treadmill endurance cadence laces finish warmup interval blister"
        ),
        Subject(
            "camping",
            "tent campfire sleeping lantern backpack hiking stove forest mosquito hammock compass canteen shelter summit wilderness tarp"
        ),
        Subject(
            "photography",
            "camera lens tripod aperture portrait shutter exposure flash landscape zoom macro sensor darkroom focus album print"
        ),
        Subject(
            "baking",
            "bread sourdough flour oven yeast cake pastry dough icing muffin whisk butter cookies crust vanilla rolling"
        ),
        Subject(
            "music",
            "guitar piano chords melody drums vinyl concert rhythm singer bass violin amplifier playlist strings jazz studio"
        ),
        Subject(
            "travel",
            "flight hotel passport luggage itinerary beach museum airport visa cruise souvenir map hostel island customs voyage"
        ),
        Subject(
            "finance",
            "budget savings mortgage invoice interest loan pension stocks credit dividend salary bank receipt inflation tax deposit"
        ),
        Subject(
            "wellness",
            "yoga meditation breathing stretch massage posture mindfulness pilates calm balance mat stress sleep relax spa detox"
        ),
        Subject(
            "cycling",
            "bicycle helmet pedals saddle brakes gears tire chain handlebar derailleur commute gravel spokes wheel pump puncture"
        ),
        Subject(
            "gaming",
            "console controller quest multiplayer joystick arcade level boss puzzle avatar headset esports speedrun dungeon loot strategy"
        ),
        Subject(
            "pets",
            "puppy kitten leash collar kibble litter aquarium grooming veterinarian hamster fetch paws whiskers cage treats parrot"
        ),
        Subject(
            "furniture",
            "sofa table shelf wardrobe mattress chair drawer cushion desk lamp cabinet bookcase oak upholstery armchair bench"
        ),
        Subject(
            "fashion",
            "jacket denim scarf dress boots silk blazer sweater handbag tailor linen runway sleeve wardrobe velvet buttons"
        ),
        Subject(
            "repair",
            "screwdriver drill hammer plumbing wrench leak paint wiring pliers sandpaper toolbox nails saw varnish gasket bolt"
        ),
        Subject(
            "astronomy",
            "telescope planet galaxy comet orbit eclipse nebula meteor moon constellation satellite star crater rocket observatory cosmos"
        ),
        Subject(
            "parenting",
            "stroller diaper toddler crib bedtime pacifier playground school bottle nursery daycare teething homework lullaby bib bath"
        ),
        Subject(
            "networking",
            "router wifi password modem firewall cable bandwidth signal browser server outage login hotspot ethernet proxy latency"
        ),
        Subject(
            "cooking",
            "skillet garlic pasta sauce knife simmer curry spices grill soup onion recipe wok marinade roast pepper"
        ),
        Subject(
            "fishing",
            "rod bait reel trout lure river hook angler salmon lake net boat tackle pike catch stream"
        ),
        Subject(
            "painting",
            "canvas brush watercolor easel palette sketch acrylic pigment gallery charcoal mural portrait frame pastel oil drawing"
        ),
        Subject(
            "fitness",
            "dumbbell kettlebell squat protein gym barbell workout pushup muscle plank treadmill coach reps deadlift bench cardio"
        ),
        Subject(
            "reading",
            "novel chapter library author paperback mystery poetry bookmark biography fiction thriller plot essay audiobook publisher verse"
        ),
    ]
}

/// A word of a title that says how good a thing is, and by how much it moves the logit.
struct Adjective {
    let word: String
    let effect: Double

    static let all: [Adjective] = [
        .init(word: "award-winning", effect: 0.55), .init(word: "beloved", effect: 0.45),
        .init(word: "handmade", effect: 0.35), .init(word: "durable", effect: 0.3),
        .init(word: "complete", effect: 0.25), .init(word: "elegant", effect: 0.2),
        .init(word: "clever", effect: 0.15), .init(word: "classic", effect: 0.1),
        .init(word: "compact", effect: 0.05), .init(word: "simple", effect: 0),
        .init(word: "standard", effect: -0.05), .init(word: "plain", effect: -0.15),
        .init(word: "basic", effect: -0.2), .init(word: "bulky", effect: -0.3),
        .init(word: "outdated", effect: -0.45), .init(word: "flimsy", effect: -0.55),
    ]
}

extension Shelf {
    /// What stands on the shelf, for titles.
    var nouns: [String] {
        switch self {
        case .product: ["kit", "set", "bundle", "starter pack", "collection", "holder"]
        case .article:
            ["guide", "checklist", "answers", "troubleshooting", "first steps", "reference"]
        case .post: ["story", "review", "opinion", "diary", "interview", "notes"]
        case .video: ["tutorial", "documentary", "livestream", "short film", "demo", "episode"]
        }
    }

    /// The beginning of item ids.
    var prefix: StaticString {
        switch self {
        case .product: "p"
        case .article: "a"
        case .post: "t"
        case .video: "v"
        }
    }
}

/// Where users are and how they come; the names stand in `user` and `context`.
enum Words {
    static let cities: [StaticString] = [
        "amsterdam", "berlin", "cairo", "denver", "istanbul", "lagos", "lima", "madrid", "mumbai",
        "osaka", "oslo", "sydney",
    ]
    static let devices: [StaticString] = ["phone", "desktop", "tablet"]
    static let networks: [StaticString] = ["wifi", "cell"]
    static let entries: [StaticString] = ["direct", "link", "push"]
    static let brands = [
        "Alder", "Birch", "Cobalt", "Dune", "Ember", "Fjord", "Glade", "Harbor", "Iris", "Juniper",
        "Kestrel", "Lumen", "Maple", "Nimbus", "Onyx", "Pebble", "Quartz", "Raven", "Slate",
        "Thistle",
        "Umber", "Vireo", "Willow", "Zephyr",
    ]
}
