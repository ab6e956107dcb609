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

/// Kernels that are written for one family of x86-64 processors, and optimised in debug builds too.
func kernels(_ name: String, _ flags: [String], define: [String] = []) -> Target {
    .target(
        name: name, dependencies: ["CVectors"], path: "Sources/\(name)",
        swiftSettings: [
            .unsafeFlags(
                ["-O"] + define.flatMap { ["-D", $0] } + flags.flatMap { ["-Xcc", $0] },
                .when(platforms: [.linux]))
        ])
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
        .executable(name: "coldstream", targets: ["coldstream"]),
        .library(name: "KafkaTransactions", targets: ["KafkaTransactions"]),
    ],
    targets: [
        // C libraries, each behind one door.
        .systemLibrary(
            name: "CJSONC", path: "Sources/CJSONC", pkgConfig: "json-c",
            providers: [.apt(["libjson-c-dev"])]),
        .systemLibrary(
            name: "CZlib", path: "Sources/CZlib", pkgConfig: "zlib",
            providers: [.apt(["zlib1g-dev"])]),

        .target(
            name: "CCurl", path: "Sources/CCurl", linkerSettings: [.linkedLibrary("curl")]),
        .systemLibrary(name: "CVectors", path: "Sources/CVectors"),
        .target(
            name: "COpenBLAS", path: "Sources/COpenBLAS", linkerSettings: [.linkedLibrary("dl")]),
        .systemLibrary(
            name: "CRdKafka", path: "Sources/CRdKafka", pkgConfig: "rdkafka",
            providers: [.apt(["librdkafka-dev"])]),

        // What knows nothing of clicks.
        library("Bytes"),
        library("JSON", ["CJSONC", "Bytes"]),
        library("DeterministicMath"),
        library("Statistics", ["DeterministicMath"]),
        library("Streams", ["Bytes"]),
        library("CommandLineArguments"),
        library("LineFiles", ["CZlib", "Bytes"]),

        // One folder of kernels, compiled for two families of processors.
        kernels("VectorKernels", ["-mavx2", "-mfma"]),
        kernels(
            "VectorKernelsWide", ["-march=skylake-avx512", "-mprefer-vector-width=512"],
            define: ["WIDE"]),
        library("Tensors", ["COpenBLAS", "VectorKernels", "VectorKernelsWide", "JSON", "Bytes"]),
        tests("Tensors", ["Tensors", "DeterministicMath"]),

        // Text into vectors.
        library(
            "TextEncoding", ["Tensors", "JSON", "DeterministicMath", "Bytes"],
            resources: [.embedInCode("unicode")]),
        tests(
            "TextEncoding",
            ["TextEncoding", "Tensors", "LineFiles", "DeterministicMath", "JSON", "Bytes"],
            resources: [.copy("golden")]),
        library("EmbeddingClient", ["CCurl", "TextEncoding", "JSON", "Bytes"]),
        tests(
            "EmbeddingClient",
            ["EmbeddingClient", "Encode", "TextEncoding", "Streams", "Contracts", "JSON", "Bytes"]),

        // The network.
        library("RankingModel", ["Tensors", "DeterministicMath", "Statistics", "JSON", "Bytes"]),
        tests(
            "RankingModel", ["RankingModel", "Tensors", "DeterministicMath", "JSON"],
            resources: [.copy("golden")]),
        library("KafkaTransactions", ["CRdKafka", "Bytes"], exclude: ["README.md"]),

        // What the network is worth: speed, and quality on a public data set.
        library(
            "ModelStudies",
            [
                "RankingModel", "TextEncoding", "Tensors", "DeterministicMath", "Statistics",
                "JSON", "LineFiles",
                "Bytes",
            ]),

        tests(
            "ModelStudies", ["ModelStudies", "RankingModel", "Tensors", "TextEncoding"]),

        // The vocabulary.
        library(
            "Contracts", path: "topics", ["Streams", "JSON", "Bytes"],
            resources: [.embedInCode("contracts")]),

        // How a role runs on Kafka.
        .target(
            name: "CMicroHTTPD", path: "Sources/CMicroHTTPD",
            linkerSettings: [.linkedLibrary("microhttpd")]),
        library(
            "WorkerRuntime",
            ["Streams", "KafkaTransactions", "Contracts", "JSON", "Bytes", "CMicroHTTPD"]),

        // What each role does.
        library(
            "Enrich", path: "workers/enrich", ["Streams", "Contracts", "Bytes"],
            exclude: ["README.md"]),
        library(
            "Gateway", path: "workers/gateway",
            ["Streams", "Contracts", "JSON", "LineFiles", "Bytes"], exclude: ["README.md"]),

        library(
            "Encode", path: "workers/encode", ["TextEncoding", "Streams", "Contracts", "Bytes"],
            exclude: ["README.md"]),

        // What feeds the roles.
        library(
            "Simulation", ["Bytes", "JSON", "Contracts", "LineFiles", "DeterministicMath"],
            exclude: ["README.md"]),
        library(
            "EventMapping", ["Bytes", "JSON", "Contracts", "LineFiles", "CommandLineArguments"],
            resources: [.embedInCode("maps")], exclude: ["README.md"]),

        // Tests: one target beside each library.
        tests("Encode", ["Encode", "TextEncoding", "Streams", "Contracts", "JSON", "Bytes"]),
        tests("Gateway", ["Gateway", "Streams", "Contracts", "JSON", "LineFiles", "Bytes"]),
        tests("Enrich", ["Enrich", "Streams", "Contracts", "JSON", "Bytes"]),
        .target(
            name: "KafkaTestBroker", dependencies: ["WorkerRuntime"], path: "Tests/KafkaTestBroker"),
        .target(name: "PrometheusText", path: "Tests/PrometheusText"),
        tests("PrometheusText", ["PrometheusText"]),
        .target(
            name: "CountingRole",
            dependencies: ["WorkerRuntime", "KafkaTransactions", "Streams", "Contracts", "Bytes"],
            path: "Tests/CountingRole"),
        .executableTarget(
            name: "CountingWorker", dependencies: ["CountingRole", "WorkerRuntime"],
            path: "Tests/CountingWorker"),
        tests(
            "WorkerRuntime",
            [
                "WorkerRuntime", "CountingRole", "CountingWorker", "KafkaTestBroker",
                "PrometheusText", "KafkaTransactions", "Streams", "Contracts", "JSON", "Bytes",
            ]),
        tests(
            "KafkaFleet",
            [
                "coldstream", "KafkaFleet", "DeterministicMath", "EmbeddedFleet", "Gateway",
                "Enrich", "Encode",
                "Finetune",
                "TextEncoding", "FleetSettings", "WorkerRuntime", "KafkaTransactions",
                "KafkaTestBroker", "PrometheusText", "Streams",
                "Contracts", "JSON", "Bytes",
            ]),
        tests(
            "KafkaSecurity",
            [
                "coldstream", "KafkaFleet", "KafkaTransactions", "KafkaTestBroker", "WorkerRuntime",
                "FleetSettings", "Contracts", "JSON", "CRdKafka",
            ]),
        tests("KafkaTransactions", ["KafkaTransactions", "CRdKafka", "Bytes", "KafkaTestBroker"]),
        tests("CommandLineArguments", ["CommandLineArguments"]),
        tests("LineFiles", ["LineFiles", "Bytes"]),
        tests(
            "EventMapping",
            ["EventMapping", "Bytes", "Contracts", "LineFiles", "Simulation"]),
        tests(
            "Simulation",
            [
                "Simulation", "FleetSettings", "Bytes", "JSON", "Contracts", "LineFiles",
                "DeterministicMath",
            ]),

        library("FleetSettings", ["JSON", "Bytes", "CommandLineArguments"]),
        library(
            "Finetune", path: "workers/finetune",
            [
                "Streams", "Contracts", "Statistics", "DeterministicMath", "VectorKernels", "JSON",
                "Bytes",
            ],
            exclude: ["README.md"]),

        library(
            "EmbeddedFleet",
            [
                "Gateway", "Enrich", "Encode", "Finetune", "FleetSettings", "TextEncoding",
                "EmbeddingClient", "LineFiles", "Statistics", "Streams", "Contracts", "JSON",
                "Bytes",
            ]),

        tests(
            "Finetune",
            [
                "Finetune", "Streams", "Contracts", "Statistics", "DeterministicMath",
                "VectorKernels", "JSON", "Bytes",
            ]),
        tests("FleetSettings", ["FleetSettings", "JSON"]),
        tests(
            "EmbeddedFleet",
            [
                "EmbeddedFleet", "Enrich", "Finetune", "Gateway", "FleetSettings", "Simulation",
                "LineFiles", "Reports", "Statistics", "DeterministicMath", "Streams", "Contracts",
                "JSON", "Bytes",
            ]),
        library(
            "KafkaFleet",
            [
                "EmbeddedFleet", "Gateway", "Enrich", "Encode", "Finetune", "FleetSettings",
                "TextEncoding", "WorkerRuntime", "KafkaTransactions", "Statistics", "Streams",
                "Contracts", "JSON", "Bytes",
            ]),

        library(
            "KafkaBenchmarks",
            [
                "KafkaFleet", "KafkaTransactions", "WorkerRuntime", "Simulation", "FleetSettings",
                "Statistics", "Contracts", "JSON", "Bytes",
            ]),

        // What people see.
        library("Reports", ["Statistics", "DeterministicMath", "LineFiles", "JSON", "Bytes"]),
        .executableTarget(
            name: "coldstream",
            dependencies: [
                "CommandLineArguments", "EmbeddedFleet", "EventMapping", "FleetSettings", "Gateway",
                "ModelStudies", "RankingModel", "Reports", "Simulation", "Streams", "Contracts",
                "Tensors", "TextEncoding", "DeterministicMath", "LineFiles", "JSON", "Bytes",
                "KafkaFleet", "KafkaBenchmarks", "KafkaTransactions", "WorkerRuntime",
            ],
            path: "Sources/coldstream"),
        tests("Reports", ["Reports", "JSON", "LineFiles", "Bytes"]),
        tests(
            "coldstream",
            [
                "coldstream", "CommandLineArguments", "Contracts", "EmbeddedFleet", "EventMapping",
                "FleetSettings", "JSON", "KafkaTestBroker", "KafkaTransactions", "LineFiles",
                "Reports", "Simulation", "Streams", "WorkerRuntime",
            ]),

        tests("DeterministicMath", ["DeterministicMath"]),
        tests("Statistics", ["Statistics", "DeterministicMath"]),
        tests("JSON", ["JSON", "Bytes", "DeterministicMath"]),
        tests(
            "Contracts", ["Contracts", "Streams", "JSON", "Bytes", "DeterministicMath"],
            resources: [.embedInCode("golden")]),
        tests("Bytes", ["Bytes"]),
        tests("Streams", ["Streams", "Bytes"]),
    ]
)
