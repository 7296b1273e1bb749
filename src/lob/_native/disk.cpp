// A thread that has the disk know a file and says so on a descriptor. It never needs Python's lock:
// neither to begin, nor to be over, and so whoever computes meanwhile delays it by nothing.
#include "disk.hpp"

#ifdef __linux__
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#endif

namespace touchstone::py {

namespace nb = nanobind;

#ifdef __linux__

/// One file at a time: `begin`, then `finish` once `fileno` can be read.
class DiskThread {
public:
    DiskThread() : told_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        if (told_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
        // Signals are for the thread that runs the loop.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        thread_ = std::thread([this] { run(); });
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    DiskThread(const DiskThread&) = delete;
    DiskThread& operator=(const DiskThread&) = delete;

    ~DiskThread() {
        close();
        ::close(told_);
    }

    int fileno() const { return told_; }

    void begin(int file) {
        {
            const std::lock_guard lock(mutex_);
            if (closing_ || file_) throw std::runtime_error("closed, or a file is under way");
            file_ = file;
        }
        wake_.notify_one();
    }

    /// Return the error's number, 0 for none; nothing while the file is under way.
    std::optional<int> finish() {
        std::uint64_t times = 0;
        if (::read(told_, &times, sizeof times) != sizeof times) return std::nullopt;
        const std::lock_guard lock(mutex_);
        return error_;
    }

    /// Return once nothing is under way any more, and nothing ever will be.
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closing_ = true;
        }
        wake_.notify_one();
        if (thread_.joinable()) thread_.join();
    }

private:
    void run() {
        std::unique_lock lock(mutex_);
        while (true) {
            wake_.wait(lock, [this] { return file_ || closing_; });
            if (!file_) return;
            const int file = *file_;
            lock.unlock();
            const int error = ::fdatasync(file) == 0 ? 0 : errno;
            lock.lock();
            error_ = error;
            file_.reset();
            const std::uint64_t once = 1;
            // It can only fail where it has been told 2^64 times already.
            [[maybe_unused]] const auto written = ::write(told_, &once, sizeof once);
        }
    }

    const int told_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::optional<int> file_;
    int error_ = 0;
    bool closing_ = false;
    std::thread thread_;
};

void bind_disk(nb::module_& module) {
    nb::class_<DiskThread>(module, "DiskThread")
        .def(nb::init<>())
        .def("fileno", &DiskThread::fileno)
        .def("begin", &DiskThread::begin, nb::arg("file"))
        .def("finish",
             [](DiskThread& self) -> nb::object {
                 const auto error = self.finish();
                 return error ? nb::int_(*error) : nb::object(nb::none());
             })
        .def("close", &DiskThread::close, nb::call_guard<nb::gil_scoped_release>());
}

#else

void bind_disk(nb::module_&) {}

#endif

}  // namespace touchstone::py
