// `coldstream bench model`: speeds of the network, of its largest product, and what memory it took.

import ModelStudies
import Tensors

/// Prints the figures as a table, or as JSON `[{name, value, unit, detail}]`.
///
/// - Parameters:
///   - numerics: kernels to use; nil for the fastest.
///   - threads: also measure with so many threads.
///   - only: the one figure to take, such as `train_1024`.
func benchModel(
    numerics: String?, threads: Int = 1, json: Bool = false, only: String? = nil
) throws {
    if let numerics {
        guard let family = KernelClass(rawValue: numerics) else {
            throw KernelError(description: "numerics \(numerics) is neither haswell nor skylakex")
        }
        try KernelChoice.choose(family)
    } else {
        try KernelChoice.chooseIfNeeded()
    }
    let study = SpeedStudy()
    var figures: [SpeedFigure] = []
    for training in [true, false] {
        for count in [1024, 32, 1] {
            if let only, only != "\(training ? "train" : "forward")_\(count)" { continue }
            figures.append(study.measure(training: training, count))
        }
    }
    if only == nil { figures.append(study.product()) }
    if threads > 1, only == nil {
        figures.append(study.measure(training: true, 1024, threads: threads))
    }
    if json {
        let lines = figures.map {
            #"{"detail":"\#($0.detail)","name":"\#($0.name)","unit":"\#($0.name == "model.product" ? "GFLOP/s" : "examples/s")","value":\#($0.value)}"#
        }
        print("[" + lines.joined(separator: ",\n ") + "]")
        return
    }
    for figure in figures {
        let name = figure.name.padding(28)
        print(
            "\(name) \(Int(figure.value)) \(figure.name == "model.product" ? "GFLOP/s" : "examples/s")  [\(Int(figure.least)) .. \(Int(figure.most))]"
                + "  \(figure.detail)")
    }
    print("peak memory".padding(28) + " \(SpeedStudy.peakMemory >> 20) MiB")
}

extension String {
    fileprivate func padding(_ width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
