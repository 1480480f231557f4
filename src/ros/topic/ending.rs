//! Ends subscriptions of a topic, and first hands on what has arrived there.

use std::time::{Duration, Instant};

use super::super::Receiver;
use super::super::buffer::Buffer;
use super::super::seen::{Judgement, are_messages_numbered};
use super::super::subscription::Subscription;
use super::{IN_USE, Left, Topic};

/// How long what has arrived is taken before its subscription ends, while other topics wait.
const LAST_TAKE: Duration = Duration::from_secs(1);

impl Topic {
    /// Ends replaced subscriptions before their time where there are too many, the oldest first. What has arrived there
    /// is handed on before.
    pub(super) fn retire_early(&mut self, buffer: &mut Buffer, receiver: &mut dyn Receiver) {
        while self.retiring.len() > IN_USE {
            self.take_last(buffer, receiver);
            let too_many = self.retiring.len().saturating_sub(IN_USE).min(IN_USE);
            let ended = self.retiring.drain(..too_many).map(|(subscription, _)| subscription).collect();
            self.drop_subscriptions(ended, buffer, receiver);
        }
    }

    /// Ends replaced subscriptions whose time is over. What has arrived there is handed on before.
    pub(in crate::ros) fn retire(&mut self, now: Instant, buffer: &mut Buffer, receiver: &mut dyn Receiver) {
        if self.retiring.iter().any(|(_, until)| *until <= now) {
            self.take_last(buffer, receiver);
            let ended = self.retiring.extract_if(.., |(_, until)| *until <= now);
            let ended = ended.map(|(subscription, _)| subscription).collect();
            self.drop_subscriptions(ended, buffer, receiver);
        }
    }

    /// All that is open, which is closed from now on.
    pub(super) fn close(&mut self) -> Vec<Subscription> {
        let retiring = self.retiring.drain(..).map(|(subscription, _)| subscription);
        let open = self.open.take().into_iter().flat_map(|open| [Some(open.main), open.latched]).flatten();
        self.earlier.clear().into_iter().chain(retiring).chain(open.map(|reader| reader.subscription)).collect()
    }

    /// Takes what has arrived before a subscription ends.
    pub(super) fn take_last(&mut self, buffer: &mut Buffer, receiver: &mut dyn Receiver) {
        let end = Instant::now() + LAST_TAKE;
        loop {
            self.begin_round();
            if self.take(end, buffer, receiver).left != Left::Perhaps {
                return;
            }
        }
    }

    /// Drops `ended`, of which [`take_last`](Self::take_last) has handed on what there was time for. What is left is lost,
    /// and counted for as long again.
    pub(super) fn drop_subscriptions(
        &mut self,
        ended: Vec<Subscription>,
        buffer: &mut Buffer,
        receiver: &mut dyn Receiver,
    ) {
        let stays = self.subscriptions().next().is_some();
        if stays && are_messages_numbered() {
            // The others may deliver it yet. If they do not, a gap in the numbers tells.
            return;
        }
        let end = Instant::now() + LAST_TAKE;
        let mut lost = 0;
        for subscription in ended {
            loop {
                match subscription.take(buffer) {
                    Ok(None) => break,
                    Ok(Some(info)) => match self.seen.judge(&info, false) {
                        Judgement::Repeat => {}
                        Judgement::New => lost += 1,
                    },
                    Err(_) => lost += 1,
                }
                if Instant::now() >= end {
                    break;
                }
            }
        }
        self.tell_missing(receiver);
        if lost > 0 {
            receiver.lost(self.index, lost);
            let (topic, seconds) = (self.wanted.topic.as_str(), LAST_TAKE.as_secs());
            tracing::error!(
                topic,
                lost,
                "Not everything that has arrived of {topic} could be taken within {seconds} s before it was subscribed \
                 anew: {lost} messages are lost."
            );
        }
    }
}
