<?php

/*
 * The doors of the REST API package that are not its API: its command
 * (pfsense-restapi notifydispatcher and refreshcache, by hand and from cron), its
 * caches wherever they are refreshed, and classes that run in their caller (async
 * false). Each goes through the daemon, or runs here under the dispatcher's lock, so
 * that no two runs of a class meet. hook.php puts the calls into the package.
 */

declare(strict_types=1);

namespace Dispatchd;

use RESTAPI\Responses\ServerError;
use RESTAPI\Responses\ServiceUnavailableError;

require_once __DIR__ . '/Native.php';

final class Door {
    /**
     * notify_dispatcher() of the package's command: does it all and exits. It returns
     * where there is no such class, which the package says itself.
     */
    public static function notifydispatcher(?string $name, ?array $arguments = []): void {
        $class = "\\RESTAPI\\Dispatchers\\$name";
        if ($name === null || !class_exists($class)) {
            return;
        }
        echo "Running $class process... ";
        try {
            $done = !self::isInsideJob() && self::byDaemon($name, $arguments ?? []);
            $lock = $done ? null : self::lock($name);
        } catch (\Error $e) { // the package's own, for people
            echo PHP_EOL;
            fwrite(STDERR, $e->getMessage() . PHP_EOL);
            exit($e->getCode() === 503 ? 75 : 1);
        }
        if ($lock !== null) {
            $file = PackageLock::take($name, '', self::waiting(...));
            $file->again();
            try {
                (new $class(async: false))->process(...($arguments ?? []));
            } finally {
                $file->release();
                unset($lock);
            }
        }
        echo 'done.' . PHP_EOL;
        exit(0);
    }

    /**
     * process() of a cache: true where the daemon has refreshed it, else the lock under
     * which the caller does; null where it has that already.
     */
    public static function cache(string $name, int $timeout = 0): bool|RunLock|null {
        if (RunLock::isHeld($name)) {
            return null;
        }
        if (self::isInsideJob()) {
            return self::lock($name, Native::bound($timeout));
        }
        if (PHP_SAPI === 'cli') {
            return self::byDaemon($name, []) ? true : self::lock($name);
        }
        $done = Native::spawn($name, false, [], $timeout);
        return is_int($done) ? true : $done;
    }

    /**
     * spawn_process() where the class runs in its caller: the lock for the time of the
     * run; null where it does not.
     */
    public static function caller(string $name, bool $async, array $arguments, int $timeout = 0): ?RunLock {
        if ($async) {
            self::refuseCut($name, $arguments);
            return null;
        }
        return self::lock($name, Native::bound($timeout));
    }

    /**
     * The lock of a dispatcher.
     *
     * @param float $seconds after which the caller is told to come again
     */
    public static function lock(string $name, float $seconds = INF): RunLock {
        $holder = '';
        try {
            $lock = RunLock::take($name, $seconds, static function (string $text) use (&$holder): void {
                $holder = (string) (json_decode($text, true)['pid'] ?? '');
                self::waiting($holder === '' ? 'another run' : "process $holder");
            });
        } catch (LockFailure $e) {
            throw new ServiceUnavailableError(message: "Dispatcher `$name`: {$e->getMessage()}. Nothing was run.", response_id: 'DISPATCHER_LOCK_UNAVAILABLE', retry_after: 60);
        }
        if ($lock === null) {
            $by = $holder === '' ? 'another run' : "process $holder";
            throw new ServiceUnavailableError(
                message: "Dispatcher `$name` is busy: $by has held it for `" . round($seconds) . '` seconds. Nothing was run; try again later.',
                response_id: 'DISPATCHER_TOO_MANY_QUEUED_PROCESSES',
                retry_after: 30,
            );
        }
        return $lock;
    }

    /** Asks the daemon and waits for the end; false where it is to be done here. */
    private static function byDaemon(string $name, array $arguments): bool {
        // A job waits for a command of the package that runs its class. Who cannot be told
        // from one must not wait for a job.
        $job = self::hide($name) ? Native::notify($name, $arguments) : null;
        if ($job === null) {
            return false;
        }
        fwrite(STDERR, "(job {$job['id']}) ");
        $job = Native::await($name, $job['id']);
        if ($job['state'] !== 'succeeded') {
            throw Native::failure($name, $job);
        }
        return true;
    }

    /**
     * Arguments that the package cannot carry to its script are refused here, where the
     * caller still hears of it: those that are no JSON come as nothing, and release
     * 2.10.0 cuts at a single quote.
     */
    private static function refuseCut(string $name, array $arguments): void {
        $json = json_encode($arguments);
        $cuts = property_exists('RESTAPI\\Core\\Command', 'escape');
        if ($json === false || $cuts && str_contains($json, "'")) {
            $why = $json === false ? 'the arguments are no JSON: ' . json_last_error_msg() : 'the package cuts the arguments at a single quote';
            throw new ServerError(message: "Dispatcher `$name`: $why. Nothing was run; native mode has no such limit.", response_id: 'DISPATCHER_FAILED_TO_SPAWN_PROCESS');
        }
    }

    /** Whether this is a child of a job: it has its locks, and may not wait for itself. */
    private static function isInsideJob(): bool {
        return getenv('DISPATCHD_JOB_ID') !== false;
    }

    /** Says once who is waited for, where somebody may be looking. */
    private static function waiting(string $holder): void {
        static $told = '';
        if (PHP_SAPI === 'cli' && $told !== $holder) {
            fwrite(STDERR, "(waiting for $holder) ");
            $told = $holder;
        }
    }

    /**
     * Gives this process a name of its own: it waits and holds no lock of the package,
     * and must not be taken for the package's command that does (PackageLock).
     */
    private static function hide(string $name): bool {
        return function_exists('cli_set_process_title') && @cli_set_process_title("dispatchd: run of $name");
    }
}
