// swift-tools-version: 6.2
// The arrows between the targets are the architecture: imports only point down (ARCHITECTURE.md).
import PackageDescription

/// A target of the data path: release builds optimise across modules, debug builds stay checked.
func library(
    _ name: String, path: String? = nil, _ dependencies: [Target.Dependency] = [],
    resources: [Resource]? = nil, exclude: [String] = []
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: path ?? "Sources/\(name)", exclude: exclude,
        resources: resources)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil)
    -> Target
{
    .testTarget(
        name: "\(name)Tests", dependencies: dependencies, path: "Tests/\(name)Tests",
        resources: resources)
}

let package = Package(
    name: "Coldstream",
    products: [
        .executable(name: "coldstream", targets: ["coldstream"])
    ],
    targets: [
        // C libraries, each behind one door.
        .systemLibrary(
            name: "CJSONC", path: "Sources/CJSONC", pkgConfig: "json-c",
            providers: [.apt(["libjson-c-dev"])]),
        .systemLibrary(
            name: "CZlib", path: "Sources/CZlib", pkgConfig: "zlib",
            providers: [.apt(["zlib1g-dev"])]),

        // What knows nothing of clicks.
        library("Bytes"),
        library("JSON", ["CJSONC", "Bytes"]),
        library("DeterministicMath"),
        library("Statistics", ["DeterministicMath"]),
        library("Streams", ["Bytes"]),
        library("CommandLineArguments"),
        library("LineFiles", ["CZlib", "Bytes"]),

        // The vocabulary.
        library(
            "Contracts", path: "topics", ["JSON", "Bytes"],
            resources: [.embedInCode("contracts")]),

        // What each role does.
        library(
            "Enrich", path: "workers/enrich", ["Streams", "Contracts", "JSON", "Bytes"],
            exclude: ["README.md"]),
        library(
            "Simulation", ["Bytes", "JSON", "Contracts", "LineFiles", "DeterministicMath"],
            exclude: ["README.md"]),

        // Tests: one target beside each library.
        tests("Enrich", ["Enrich", "Streams", "Contracts", "JSON", "Bytes"]),
        tests("CommandLineArguments", ["CommandLineArguments"]),
        tests("LineFiles", ["LineFiles", "Bytes"]),
        tests(
            "Simulation",
            ["Simulation", "Bytes", "JSON", "Contracts", "LineFiles", "DeterministicMath"]),

        .executableTarget(
            name: "coldstream",
            dependencies: ["Bytes", "JSON", "Contracts", "Streams", "Statistics"],
            path: "Sources/coldstream"),

        tests("DeterministicMath", ["DeterministicMath"]),
        tests("Statistics", ["Statistics", "DeterministicMath"]),
        tests("JSON", ["JSON", "Bytes"]),
        tests("Contracts", ["Contracts", "JSON", "Bytes"]),
    ]
)
