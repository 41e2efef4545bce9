"""PyTorch's shared tensors: a model that processes train together, tensors in queues and pools, by the named strategy."""

import sys

import torch
import torch.multiprocessing as mp


def add(tensor, lock, times):
    for _ in range(times):
        with lock:
            tensor += 1


def train(model, lock, steps):
    torch.manual_seed(0)
    inputs, targets = torch.randn(64, 4), torch.zeros(64, 1)
    for _ in range(steps):
        with lock:
            for parameter in model.parameters():
                parameter.grad = None
            torch.nn.functional.mse_loss(model(inputs), targets).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.05 * parameter.grad


def produce(queue, back):
    for n in range(4):
        queue.put(torch.full((1000,), float(n)))
    queue.put(None)
    back.get()  # by descriptor, a tensor is gone with the process that made it


def total(tensor):
    return float(tensor.sum())


def main(strategy, method):
    torch.set_num_threads(1)
    mp.set_sharing_strategy(strategy)
    context = mp.get_context(method)
    lock = context.Lock()

    tensor = torch.zeros(50_000).share_memory_()
    processes = [context.Process(target=add, args=(tensor, lock, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("counted", tensor.unique().tolist(), tensor.is_shared())

    torch.manual_seed(1)
    model = torch.nn.Linear(4, 1)
    model.share_memory()
    before = model.weight.clone()
    processes = [context.Process(target=train, args=(model, lock, 50)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("trained", [round(x, 4) for x in model.weight.flatten().tolist()], bool((before != model.weight).all()))

    queue, back = context.Queue(), context.SimpleQueue()
    process = context.Process(target=produce, args=(queue, back))
    process.start()
    sums = []
    while (item := queue.get()) is not None:
        sums.append(total(item))
    back.put(None)
    process.join()
    print("received", sums, process.exitcode)

    with context.Pool(2) as pool:
        print("pool", pool.map(total, [torch.arange(n * 1000.0) for n in range(1, 5)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
